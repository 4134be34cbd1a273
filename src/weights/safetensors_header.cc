#include "weights/safetensors_header.h"

#include <unordered_set>

#include <fmt/format.h>

#include "core/json.h"
#include "weights/quote_name.h"

namespace spate {
namespace {

constexpr std::uint64_t kMaxOffset = std::uint64_t{1} << 62;

/// Receives the header token by token. A document tree would cost many times the header's size, and
/// would hide a name that occurs twice.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  HeaderReader(SafetensorsIndex& index, std::string_view source) : index_(index), source_(source) {}

  const Error& error() const { return error_; }

  bool null() override { return unexpected("null"); }
  bool boolean(bool /*value*/) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override {
    return fail(fmt::format("negative number {} in {}", value, quote_name(field_)));
  }
  bool number_float(number_float_t /*value*/, const string_t& text) override {
    return fail(fmt::format("{} in {} is not an integer in range", text, quote_name(field_)));
  }
  bool binary(binary_t& /*value*/) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kShape && place_ != Place::kOffsets) return unexpected("a number");
    if (value > kMaxOffset)
      return fail(fmt::format("{} in {} is too large", value, quote_name(field_)));
    if (place_ == Place::kShape) {
      entry_.shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (offsets_ == 2) return fail("data_offsets has more than two numbers");
    (offsets_++ == 0 ? entry_.begin : entry_.end) = static_cast<std::int64_t>(value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) return add_metadata(value);
    if (place_ != Place::kTensor || field_ != "dtype") return unexpected("a string");
    entry_.dtype_name = value;
    return true;
  }

  bool key(string_t& name) override {
    field_ = name;
    if (place_ == Place::kMetadata) return true;
    if (place_ == Place::kTensor) return start_field();
    entry_ = SafetensorsEntry{};
    entry_.name = name;
    if (!names_.insert(name).second) return fail(fmt::format("{} occurs twice", quote_name(name)));
    return true;
  }

  bool start_object(std::size_t /*elements*/) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTensors;
      return true;
    }
    if (place_ != Place::kTensors) return unexpected("an object");
    fields_ = 0;
    offsets_ = 0;
    place_ = field_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor && !finish_tensor()) return false;
    place_ = Place::kTensors;  // also after the last brace: nothing may follow it
    return true;
  }

  bool start_array(std::size_t /*elements*/) override {
    if (place_ != Place::kTensor || field_ == "dtype") return unexpected("an array");
    place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& e) override {
    return fail(fmt::format("header is not valid JSON at byte {}: {}", 8 + position, e.what()));
  }

 private:
  enum class Place : std::uint8_t { kStart, kTensors, kMetadata, kTensor, kShape, kOffsets };

  bool start_field() {
    const unsigned bit = field_ == "dtype" ? 1U : field_ == "shape" ? 2U : 4U;
    if (bit == 4U && field_ != "data_offsets")
      return fail(fmt::format("unknown {}", quote_name(field_)));
    if ((fields_ & bit) != 0) return fail(fmt::format("{} occurs twice", quote_name(field_)));
    fields_ |= bit;
    return true;
  }

  bool finish_tensor() {
    if (fields_ != 7U) return fail("dtype, shape or data_offsets is missing");
    if (offsets_ != 2) return fail("data_offsets has less than two numbers");
    index_.tensors.push_back(std::move(entry_));
    entry_ = SafetensorsEntry{};
    return true;
  }

  bool add_metadata(string_t& value) {
    if (index_.metadata.emplace(field_, std::move(value)).second) return true;
    return fail(fmt::format("{} occurs twice", quote_name(field_)));
  }

  bool unexpected(std::string_view what) { return fail(fmt::format("unexpected {}", what)); }

  bool fail(std::string_view what) {
    const std::string where =
        entry_.name.empty() ? "header" : fmt::format("header, tensor {}", quote_name(entry_.name));
    error_ = {ErrorCode::kCorrupt, fmt::format("{}: {}: {}", source_, where, what)};
    return false;
  }

  SafetensorsIndex& index_;
  std::string_view source_;
  std::unordered_set<std::string> names_;
  SafetensorsEntry entry_;
  std::string field_;
  Error error_;
  Place place_ = Place::kStart;
  unsigned fields_ = 0;  // one bit for each of the three that were seen
  int offsets_ = 0;
};

}  // namespace

Result<SafetensorsIndex> parse_safetensors_header(std::string_view header,
                                                  std::string_view source) {
  SafetensorsIndex index;
  HeaderReader reader(index, source);
  if (!Json::sax_parse(header, &reader)) return reader.error();
  return index;
}

}  // namespace spate
