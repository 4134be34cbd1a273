// A reader for the wire format of protocol buffers, just enough for SentencePiece models: varints,
// 32- and 64-bit values and length-delimited fields. A view of the bytes; throws LoadError with
// the source and the offset.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace spate {

class ProtobufReader {
 public:
  enum class Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  /// `offset` is where `bytes` begins in the file.
  ProtobufReader(std::string_view bytes, std::string source, std::uint64_t offset = 0)
      : bytes_(bytes), source_(std::move(source)), offset_(offset) {}

  /// Moves to the next field; false at the end. A value that is not read is skipped.
  bool next();
  std::uint32_t field() const { return field_; }

  // The value of the field; LoadError when it was written with another wire type.
  std::uint64_t varint() const;
  bool boolean() const { return varint() != 0; }
  std::int32_t int32() const { return static_cast<std::int32_t>(varint()); }
  float real() const;
  std::string_view bytes() const;
  /// The field as a message of its own.
  ProtobufReader message() const;

  [[noreturn]] void refuse(std::string_view message) const;

 private:
  std::uint64_t read_varint();
  void expect(Wire wire) const;

  std::string_view bytes_;
  std::string source_;
  std::uint64_t offset_;
  std::size_t at_ = 0;
  std::uint32_t field_ = 0;
  Wire wire_ = Wire::kVarint;
  std::uint64_t number_ = 0;
  std::string_view value_{};
};

}  // namespace spate
