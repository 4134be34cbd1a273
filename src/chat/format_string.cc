// '%' formatting and str.format, on top of format.h's specifications.
#include <cmath>
#include <limits>

#include "chat/format.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace spate::chat {
namespace {

constexpr int kMaxFieldDepth = 2;  // a replacement field may hold fields in its specification, once

Value finish(Runtime& rt, std::string text, bool markup) {
  const Value v = rt.heap.string(std::move(text));
  return markup ? v.with_markup() : v;
}

// Formatting into markup escapes what is put in.
std::string text_of(Runtime& rt, const Value& v, bool markup) {
  std::string text;
  append_text(rt, text, v);
  return markup && !v.markup() && !v.is_numeric() ? escape_html(text) : text;
}

std::int64_t whole_number(const Value& v, char type) {
  if (v.is_undefined()) fail_undefined(v);
  if (v.is_integral()) return v.as_int();
  const bool fits = v.is(Kind::kFloat) && std::fabs(v.as_float()) < 9.2e18;
  if (!fits || type == 'x' || type == 'X' || type == 'o') {
    fail(std::string("%") + type + " needs an integer, not " + std::string(type_name(v)));
  }
  return static_cast<std::int64_t>(v.as_float());
}

class Percent {
 public:
  Percent(Runtime& rt, const Value& format, const Value& arguments)
      : rt_(rt), text_(format.text()), markup_(format.markup()), arguments_(arguments) {
    const bool tuple =
        arguments.is(Kind::kSequence) && arguments.sequence().kind == SequenceKind::kTuple;
    if (tuple) items_ = arguments.sequence().items;
    if (!tuple) items_.push_back(arguments);
    mapping_ = arguments.is(Kind::kDict);
  }

  std::string run() {
    while (position_ < text_.size()) {
      const std::size_t percent = text_.find('%', position_);
      out_.append(text_, position_, percent - position_);
      if (percent == std::string_view::npos) break;
      position_ = percent + 1;
      conversion();
      rt_.heap.work(1);
      rt_.heap.check_size(static_cast<double>(out_.size()));
    }
    const bool container =
        mapping_ || arguments_.is_undefined() ||
        (arguments_.is(Kind::kSequence) && arguments_.sequence().kind != SequenceKind::kTuple);
    if (next_ < items_.size() && !used_mapping_ && !container)
      fail("a format leaves arguments over", "add a conversion for each");
    return std::move(out_);
  }

 private:
  char peek() const {
    if (position_ >= text_.size())
      fail("a format ends inside a conversion", "write %% for a percent sign");
    return text_[position_];
  }

  const Value& take() {
    if (next_ >= items_.size()) fail("a format has more conversions than arguments");
    return items_[next_++];
  }

  std::int64_t number() {
    if (peek() == '*') {
      ++position_;
      return to_index(take(), "a width");
    }
    std::int64_t n = 0;
    for (; peek() >= '0' && peek() <= '9'; ++position_) {
      n = n * 10 + (peek() - '0');
      if (n > std::numeric_limits<std::int32_t>::max()) fail("a width in a format is too large");
    }
    return n;
  }

  const Value* key() {
    if (peek() != '(') return nullptr;
    const std::size_t close = text_.find(')', position_);
    if (close == std::string_view::npos) fail("a format key is never closed", "add ')'");
    const std::string_view name = text_.substr(position_ + 1, close - position_ - 1);
    if (!mapping_) fail("a format with keys needs a dict");
    const Value* found = arguments_.dict().find(name);
    if (found == nullptr)
      fail("a format names the key '" + std::string(name) + "', which is not in the dict");
    position_ = close + 1;
    used_mapping_ = true;
    return found;
  }

  void conversion() {
    FormatSpec spec;
    const Value* named = key();
    bool left = false;
    bool zero = false;
    for (bool more = true; more;) {
      switch (peek()) {
        case '-':
          left = true;
          break;
        case '+':
          spec.sign = '+';
          break;
        case ' ':
          spec.sign = spec.sign == '+' ? '+' : ' ';
          break;
        case '#':
          spec.alternate = true;
          break;
        case '0':
          zero = true;
          break;
        default:
          more = false;
      }
      if (more) ++position_;
    }
    spec.width = number();
    if (spec.width < 0) {
      left = true;
      spec.width = -spec.width;
    }
    spec.align = left ? '<' : '>';
    if (peek() == '.') {
      ++position_;
      spec.precision = std::max<std::int64_t>(number(), 0);
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++position_;
    const char type = text_[position_++];
    if (type == '%') {
      out_ += '%';
      return;
    }
    convert(named == nullptr ? take() : *named, type, zero && !left, spec);
  }

  void convert(const Value& v, char type, bool zero, FormatSpec& spec) {
    const bool is_number = std::string_view("diuoxXeEfFgG").find(type) != std::string_view::npos;
    if (is_number && zero) {
      spec.fill = "0";
      spec.align = '=';
    }
    spec.type = type;
    switch (type) {
      case 's':
      case 'r':
      case 'a':
        return text(v, type, spec);
      case 'c':
        return character(v, spec);
      case 'd':
      case 'i':
      case 'u':
        spec.type = 'd';
        [[fallthrough]];
      case 'o':
      case 'x':
      case 'X':
        return integer(v, spec);
      default:
        break;
    }
    if (!is_number)
      fail(std::string("unknown conversion '%") + type + "'", "write %% for a percent sign");
    if (!v.is_numeric()) fail_operand(std::string("'%") + type + "'", v);
    out_ += format_value(rt_, Value::number(v.as_float()), spec);
  }

  void text(const Value& v, char type, FormatSpec& spec) {
    std::string text;
    if (type == 's') {
      text = text_of(rt_, v, markup_);
    } else {
      append_repr(rt_, text, v);
    }
    spec.type = 's';
    spec.sign = '-';
    spec.alternate = false;
    out_ += format_value(rt_, rt_.heap.string(std::move(text)), spec);
  }

  void character(const Value& v, FormatSpec& spec) {
    spec.sign = '-';
    spec.type = 's';
    std::string text;
    if (v.is_string() && v.rep()->code_points == 1) {
      text = v.text();
    } else if (v.is_integral() && v.as_int() >= 0 && v.as_int() <= 0x10FFFF) {
      append_utf8(text, static_cast<std::int32_t>(v.as_int()));
    } else {
      fail("%c needs a character");
    }
    out_ += format_value(rt_, rt_.heap.string(std::move(text)), spec);
  }

  void integer(const Value& v, FormatSpec& spec) {
    const std::int64_t value = whole_number(v, spec.type);
    const std::int64_t digits = spec.precision.value_or(0);
    spec.precision = std::nullopt;
    if (digits == 0) {
      out_ += format_value(rt_, Value::integer(value), spec);
      return;
    }
    // A precision is a minimum of digits: pad with zeros first, then with blanks.
    FormatSpec inner = spec;
    inner.width = digits + (value < 0 || spec.sign != '-' ? 1 : 0);
    inner.fill = "0";
    inner.align = '=';
    spec.type = 's';
    spec.sign = '-';
    spec.alternate = false;
    if (spec.align == '=') spec.align = '>';
    out_ +=
        format_value(rt_, rt_.heap.string(format_value(rt_, Value::integer(value), inner)), spec);
  }

  Runtime& rt_;
  std::string_view text_;
  bool markup_;
  const Value& arguments_;
  std::vector<Value> items_{};
  bool mapping_ = false;
  bool used_mapping_ = false;
  std::size_t position_ = 0;
  std::size_t next_ = 0;
  std::string out_{};
};

class Braces {
 public:
  Braces(Runtime& rt, const Arguments& arguments, bool markup)
      : rt_(rt), arguments_(arguments), markup_(markup) {}

  std::string run(std::string_view text, int depth) {
    if (depth == 0) fail("a format is nested too deeply");
    std::string out;
    for (std::size_t p = 0; p < text.size();) {
      const char c = text[p];
      if ((c == '{' || c == '}') && p + 1 < text.size() && text[p + 1] == c) {
        out += c;
        p += 2;
      } else if (c == '}') {
        fail("a single '}' in a format", "write }} for a brace");
      } else if (c == '{') {
        const std::size_t end = field_end(text, p + 1);
        out += field(text.substr(p + 1, end - p - 1), depth);
        p = end + 1;
      } else {
        out += c;
        ++p;
      }
      rt_.heap.check_size(static_cast<double>(out.size()));
    }
    rt_.heap.work_bytes(text.size());
    return out;
  }

 private:
  static std::size_t field_end(std::string_view text, std::size_t p) {
    int open = 1;
    for (; p < text.size(); ++p) {
      if (text[p] == '{') ++open;
      if (text[p] == '}' && --open == 0) return p;
    }
    fail("a '{' in a format is never closed", "write {{ for a brace");
  }

  std::string field(std::string_view text, int depth) {
    const std::size_t name_end = text.find_first_of("!:");
    const std::string_view name = text.substr(0, name_end);
    Value v = lookup(name);
    std::string_view rest =
        name_end == std::string_view::npos ? std::string_view() : text.substr(name_end);
    if (!rest.empty() && rest[0] == '!') {
      v = converted(v, rest);
      rest = rest.substr(2);
      if (!rest.empty() && rest[0] != ':') fail("a format expects ':' behind its conversion");
    }
    const std::string spec_text = rest.empty() ? std::string() : run(rest.substr(1), depth - 1);
    if (spec_text.empty()) return text_of(rt_, v, markup_);
    const bool formats = v.is_string() || v.is_numeric();
    if (!formats)
      fail("a format specification is applied to a value of type " + std::string(type_name(v)));
    std::string out = format_value(rt_, v, parse_format_spec(spec_text));
    return markup_ && v.is_string() && !v.markup() ? escape_html(out) : out;
  }

  Value converted(const Value& v, std::string_view rest) {
    const char kind = rest.size() > 1 ? rest[1] : '\0';
    if (kind == 's') return to_string(rt_, v);
    if (kind != 'r' && kind != 'a') fail("unknown conversion in a format", "use !s or !r");
    std::string text;
    append_repr(rt_, text, v);
    return rt_.heap.string(std::move(text));
  }

  Value lookup(std::string_view name) {
    const std::size_t end = name.find_first_of(".[");
    Value v = first(name.substr(0, end));
    std::size_t p = end == std::string_view::npos ? name.size() : end;
    while (p < name.size()) {
      const bool dot = name[p] == '.';
      const std::size_t stop = dot ? name.find_first_of(".[", p + 1) : name.find(']', p);
      if (!dot && stop == std::string_view::npos) fail("a '[' in a format is never closed");
      const std::string part(
          name.substr(p + 1, stop == std::string_view::npos ? stop : stop - p - 1));
      if (part.empty()) fail("a format has an empty attribute");
      v = dot ? get_attribute(rt_, v, rt_.heap.string(part)) : get_item(rt_, v, index(part));
      if (v.is_undefined()) fail("a format names '" + part + "', which does not exist");
      p = stop == std::string_view::npos ? name.size() : stop + (dot ? 0 : 1);
    }
    return v;
  }

  Value index(const std::string& part) {
    if (part.find_first_not_of("0123456789") == std::string::npos && part.size() < 10)
      return Value::integer(std::stoll(part));
    return rt_.heap.string(part);
  }

  Value first(std::string_view name) {
    const bool digits = name.find_first_not_of("0123456789") == std::string_view::npos;
    if (digits) {
      const bool automatic = name.empty();
      if (name.size() > 9) fail("a format's argument number is too large");
      if (automatic ? manual_ : next_ > 0) fail("a format mixes {} and {0}");
      manual_ = !automatic;
      const std::size_t i =
          automatic ? next_++ : static_cast<std::size_t>(std::stoll(std::string(name)));
      if (i >= arguments_.positional.size()) fail("a format has more fields than arguments");
      return arguments_.positional[i];
    }
    for (const Pair& argument : arguments_.named) {
      if (argument.key.text() == name) return argument.value;
    }
    fail("a format names '" + std::string(name) + "', which is not among its arguments");
  }

  Runtime& rt_;
  const Arguments& arguments_;
  bool markup_;
  std::size_t next_ = 0;
  bool manual_ = false;
};

}  // namespace

Value format_percent(Runtime& rt, const Value& format, const Value& arguments) {
  rt.heap.work_bytes(format.text().size());
  return finish(rt, Percent(rt, format, arguments).run(), format.markup());
}

Value format_braces(Runtime& rt, const Value& format, const Arguments& arguments) {
  return finish(rt, Braces(rt, arguments, format.markup()).run(format.text(), kMaxFieldDepth),
                format.markup());
}

}  // namespace spate::chat
