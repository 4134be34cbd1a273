#include "chat/value.h"

#include <cmath>
#include <functional>

#include "chat/text.h"

namespace spate::chat {
namespace {

constexpr std::size_t kIndexFrom = 9;  // entries; below this a scan beats hashing
constexpr std::int32_t kEmptySlot = -1;

bool equal_sequences(Heap& heap, const Sequence& a, const Sequence& b, int depth) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  if (a.kind >= SequenceKind::kKeys) return &a == &b;
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    if (!equal(heap, a.items[i], b.items[i], depth)) return false;
  }
  return true;
}

bool equal_dicts(Heap& heap, const Dict& a, const Dict& b, int depth) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const Pair& entry : a.entries) {
    const Value* other = b.find(entry.key);
    if (other == nullptr || !equal(heap, entry.value, *other, depth)) return false;
  }
  return true;
}

bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
  return a.as_float() == b.as_float();
}

std::size_t mix(std::size_t h, std::size_t more) { return (h ^ more) * 0x9E3779B97F4A7C15U; }

std::size_t hash_sequence(Heap& heap, const Sequence& s, int depth) {
  if (s.kind == SequenceKind::kList)
    fail("unhashable type: 'list'", "use a tuple or a string as the key");
  if (s.kind != SequenceKind::kTuple) return std::hash<const void*>{}(&s);
  std::size_t h = 17;
  for (const Value& item : s.items) h = mix(h, hash_of(heap, item, depth));
  return h;
}

}  // namespace

Value Value::undefined(const Value& name) {
  return name.is_string() ? undefined(name.bits_.string) : Value();
}

Value Value::undefined(StringRep* name) {
  Value v(Kind::kUndefined);
  v.bits_.string = name;
  v.retain();
  return v;
}

Value Value::boolean(bool b) {
  Value v(Kind::kBool);
  v.bits_.integer = b ? 1 : 0;
  return v;
}

Value Value::integer(std::int64_t i) {
  Value v(Kind::kInt);
  v.bits_.integer = i;
  return v;
}

Value Value::number(double d) {
  Value v(Kind::kFloat);
  v.bits_.real = d;
  return v;
}

Value Value::string(StringRep* rep) {
  Value v(Kind::kString);
  v.bits_.string = rep;
  v.retain();
  return v;
}

Value Value::object(Kind kind, Object* object) {
  Value v(kind);
  v.bits_.object = object;
  return v;
}

Sequence& Value::sequence() const { return static_cast<Sequence&>(*bits_.object); }
Dict& Value::dict() const { return static_cast<Dict&>(*bits_.object); }

std::string_view Value::undefined_name() const {
  if (kind_ != Kind::kUndefined || bits_.string == nullptr) return {};
  return bits_.string->text;
}

Value Value::with_markup() const {
  Value v = *this;
  v.markup_ = true;
  return v;
}

void Value::release() {
  if (!counted()) return;
  StringRep* rep = bits_.string;
  if (rep == nullptr || rep->heap == nullptr || --rep->references > 0) return;
  rep->heap->give(static_cast<std::int64_t>(rep->text.size() + sizeof(StringRep)));
  // A representation without a heap, like the one of Dict::find, has returned above.
  delete rep;  // NOLINT(clang-analyzer-cplusplus.NewDelete)
}

Value Heap::string(std::string text) {
  check_size(static_cast<double>(text.size()));
  take(static_cast<std::int64_t>(text.size() + sizeof(StringRep)));
  work_bytes(text.size());
  auto rep = std::make_unique<StringRep>();
  rep->code_points = count_code_points(text);
  rep->text = std::move(text);
  rep->heap = this;
  return Value::string(rep.release());
}

Value Heap::list(std::vector<Value> items, SequenceKind kind) {
  const std::size_t n_bytes = items.size() * sizeof(Value);
  check_size(static_cast<double>(n_bytes));
  take(static_cast<std::int64_t>(n_bytes));
  work_bytes(n_bytes);
  auto* list = make<Sequence>();
  list->kind = kind;
  list->items = std::move(items);
  return Value::object(Kind::kSequence, list);
}

Dict* Heap::dict() { return make<Dict>(*this); }

void Heap::take(std::int64_t bytes) {
  if (bytes > limits_.max_heap_bytes - used_) {
    fail("the template needs more than " + std::to_string(limits_.max_heap_bytes) +
             " bytes of memory",
         "shorten the conversation, or raise ChatLimits::max_heap_bytes");
  }
  used_ += bytes;
}

void Heap::check_size(double n_bytes) const {
  if (n_bytes > static_cast<double>(limits_.max_value_bytes)) {
    fail("a value would be larger than " + std::to_string(limits_.max_value_bytes) + " bytes",
         "shorten the conversation, or raise ChatLimits::max_value_bytes");
  }
}

void Heap::fail_steps() const {
  fail("the template takes more than " + std::to_string(limits_.max_steps) + " steps",
       "look for loops in loops, or raise ChatLimits::max_steps");
}

const Value* Dict::find(const Value& key) const {
  const std::int64_t at = position(key);
  return at < 0 ? nullptr : &entries[static_cast<std::size_t>(at)].value;
}

const Value* Dict::find(std::string_view key) const {
  if (index_.empty()) {
    for (const Pair& entry : entries) {
      if (entry.key.is_string() && entry.key.text() == key) return &entry.value;
    }
    return nullptr;
  }
  StringRep probe{.text = std::string(key)};
  return find(Value::string(&probe));
}

std::int64_t Dict::position(const Value& key) const {
  if (index_.empty()) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (equal(heap_, entries[i].key, key)) return static_cast<std::int64_t>(i);
    }
    return -1;
  }
  const std::size_t mask = index_.size() - 1;
  for (std::size_t slot = hash_of(heap_, key) & mask; index_[slot] != kEmptySlot;
       slot = (slot + 1) & mask) {
    if (equal(heap_, entries[static_cast<std::size_t>(index_[slot])].key, key)) return index_[slot];
  }
  return -1;
}

void Dict::set(const Value& key, Value value) {
  if (!key.is_string()) static_cast<void>(hash_of(heap_, key));  // refuses what cannot be a key
  const std::int64_t at = position(key);
  if (at >= 0) {
    entries[static_cast<std::size_t>(at)].value = std::move(value);
    return;
  }
  heap_.take(static_cast<std::int64_t>(sizeof(Pair)) * 2);
  entries.push_back({key, std::move(value)});
  if (entries.size() < kIndexFrom) return;
  if (entries.size() * 2 > index_.size()) {
    index_all();
  } else {
    index_one(static_cast<std::int64_t>(entries.size()) - 1);
  }
}

void Dict::index_all() {
  std::size_t slots = 32;
  while (slots < entries.size() * 4) slots *= 2;
  index_.assign(slots, kEmptySlot);
  for (std::size_t i = 0; i < entries.size(); ++i) index_one(static_cast<std::int64_t>(i));
}

void Dict::index_one(std::int64_t position) {
  const std::size_t mask = index_.size() - 1;
  std::size_t slot = hash_of(heap_, entries[static_cast<std::size_t>(position)].key) & mask;
  while (index_[slot] != kEmptySlot) slot = (slot + 1) & mask;
  index_[slot] = static_cast<std::int32_t>(position);
}

Value* Namespace::find(std::string_view name) {
  for (Pair& entry : entries) {
    if (entry.key.text() == name) return &entry.value;
  }
  return nullptr;
}

bool equal(Heap& heap, const Value& a, const Value& b, int depth) {
  if (depth == 0) fail("values nested too deeply to compare", "compare parts of them");
  heap.work(1);
  if (a.is_numeric() && b.is_numeric()) return equal_numbers(a, b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      heap.work_bytes(a.text().size());
      return a.text() == b.text();
    case Kind::kSequence:
      return equal_sequences(heap, a.sequence(), b.sequence(), depth - 1);
    case Kind::kDict:
      return equal_dicts(heap, a.dict(), b.dict(), depth - 1);
    default:
      return a.object() == b.object();
  }
}

std::size_t hash_of(Heap& heap, const Value& v, int depth) {
  if (depth == 0) fail("values nested too deeply to be a key", "use a string as the key");
  heap.work(1);
  switch (v.kind()) {
    case Kind::kUndefined:
      return 1;
    case Kind::kNone:
      return 2;
    case Kind::kBool:
    case Kind::kInt:
      return std::hash<double>{}(static_cast<double>(v.as_int()));
    case Kind::kFloat:
      return std::hash<double>{}(v.as_float());
    case Kind::kString:
      heap.work_bytes(v.text().size());
      return std::hash<std::string_view>{}(v.text());
    case Kind::kSequence:
      return hash_sequence(heap, v.sequence(), depth - 1);
    case Kind::kDict:
      fail("unhashable type: 'dict'", "use a string as the key");
    default:
      return std::hash<const void*>{}(v.object());
  }
}

}  // namespace spate::chat
