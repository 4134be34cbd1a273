// GPT-2's reversible map of bytes to printable characters (Radford et al., 2019): byte-level
// vocabularies are written in it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace spate {

struct ByteAlphabet {
  struct Entry {
    std::uint8_t length = 0;
    std::array<char, 2> text{};
  };
  std::array<Entry, 256> encode{};         // byte to UTF-8, never more than two bytes
  std::array<std::int16_t, 512> decode{};  // code point to byte, -1 where there is none

  void append(std::string& out, std::string_view bytes) const {
    for (const char c : bytes) {
      const Entry& entry = encode[static_cast<unsigned char>(c)];
      out.append(entry.text.data(), entry.length);
    }
  }
};

constexpr ByteAlphabet make_byte_alphabet() {
  ByteAlphabet map;
  map.decode.fill(-1);
  int moved = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    const int code = printable ? byte : 256 + moved++;
    map.decode[static_cast<std::size_t>(code)] = static_cast<std::int16_t>(byte);
    ByteAlphabet::Entry& entry = map.encode[static_cast<std::size_t>(byte)];
    if (code < 0x80) {
      entry = {1, {static_cast<char>(code), '\0'}};
    } else {
      entry = {2, {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))}};
    }
  }
  return map;
}

inline constexpr ByteAlphabet kByteAlphabet = make_byte_alphabet();

}  // namespace spate
