#include "tokenizer/protobuf.h"

#include <fmt/format.h>

#include "core/load_error.h"

namespace spate {

void ProtobufReader::refuse(std::string_view message) const {
  throw LoadError(ErrorCode::kCorrupt,
                  fmt::format("{}: byte {}: {}", source_, offset_ + at_, message));
}

std::uint64_t ProtobufReader::read_varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at_ >= bytes_.size()) refuse("the file ends inside a number");
    const auto byte = static_cast<unsigned char>(bytes_[at_++]);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  refuse("a number has more than ten bytes");
}

bool ProtobufReader::next() {
  if (at_ >= bytes_.size()) return false;
  const std::uint64_t tag = read_varint();
  field_ = static_cast<std::uint32_t>(tag >> 3);
  wire_ = static_cast<Wire>(tag & 7);
  std::uint64_t size = 0;
  switch (wire_) {
    case Wire::kVarint:
      number_ = read_varint();
      return true;
    case Wire::kFixed64:
      size = 8;
      break;
    case Wire::kFixed32:
      size = 4;
      break;
    case Wire::kBytes:
      size = read_varint();
      break;
    default:
      refuse(fmt::format("unknown wire type {}; not a SentencePiece model", tag & 7));
  }
  if (size > bytes_.size() - at_) {
    refuse(
        fmt::format("field {} announces {} bytes, {} are left", field_, size, bytes_.size() - at_));
  }
  value_ = bytes_.substr(at_, size);
  at_ += size;
  return true;
}

void ProtobufReader::expect(Wire wire) const {
  if (wire_ != wire) refuse(fmt::format("field {} has the wrong type", field_));
}

std::uint64_t ProtobufReader::varint() const {
  expect(Wire::kVarint);
  return number_;
}

float ProtobufReader::real() const {
  expect(Wire::kFixed32);
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    bits |= std::uint32_t{static_cast<unsigned char>(value_[i])} << (8 * i);
  }
  return std::bit_cast<float>(bits);
}

std::string_view ProtobufReader::bytes() const {
  expect(Wire::kBytes);
  return value_;
}

ProtobufReader ProtobufReader::message() const {
  expect(Wire::kBytes);
  return {value_, source_, offset_ + at_ - value_.size()};
}

}  // namespace spate
