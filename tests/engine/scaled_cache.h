// A model that is another one but for powers of two: keys and values are far larger, queries and
// the output map as much smaller, and the checkpoint says by what an e4m3 cache is to divide them.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "tests/engine/engine_fixture.h"
#include "tests/weights/files.h"

namespace spate::test {

/// A file of safetensors in bf16, in memory.
struct SafetensorsFile {
  nlohmann::ordered_json header;
  std::string data;

  explicit SafetensorsFile(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    std::uint64_t size = 0;
    std::memcpy(&size, bytes.data(), sizeof size);
    header = nlohmann::ordered_json::parse(bytes.substr(8, size));
    data = bytes.substr(8 + size);
  }

  /// Multiplies a tensor by 2^exponent, exactly.
  void scale(const std::string& name, int exponent) {
    const std::size_t begin = header.at(name).at("data_offsets").at(0);
    const std::size_t end = header.at(name).at("data_offsets").at(1);
    for (std::size_t at = begin; at < end; at += 2) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, data.data() + at, sizeof bits);
      if ((bits & 0x7F80) != 0) bits = static_cast<std::uint16_t>(bits + (exponent << 7));
      std::memcpy(data.data() + at, &bits, sizeof bits);
    }
  }
  /// Appends f32 numbers of this shape.
  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<float>& values) {
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string bytes() const { return aligned_safetensors(header.dump(), data); }
};

constexpr int kKeyExponent = 12, kValueExponent = 9;

/// Writes the model to `folder`. scales: of keys and values by the name of their tensors, e.g.
/// "self_attn.k_scale"; without them an e4m3 cache, which ends at 448, is useless.
inline void write_scaled_model(const TemporaryFolder& folder, const std::string& model,
                               const std::map<std::string, std::vector<float>>& scales) {
  const std::filesystem::path from = golden_folder(model);
  for (const char* name : {"config.json", "generation_config.json"})
    std::filesystem::copy_file(from / name, folder.file(name));
  SafetensorsFile file((from / "model.safetensors").string());
  const std::string layer = "model.layers.0.";  // the only one
  file.scale(layer + "self_attn.q_proj.weight", -kKeyExponent);
  file.scale(layer + "self_attn.k_proj.weight", kKeyExponent);
  file.scale(layer + "self_attn.v_proj.weight", kValueExponent);
  file.scale(layer + "self_attn.o_proj.weight", -kValueExponent);
  for (const auto& [name, values] : scales) {
    std::vector<std::int64_t> shape = {static_cast<std::int64_t>(values.size())};
    if (values.size() > 1) shape.insert(shape.end(), {1, 1});
    file.add(layer + name, shape, values);
  }
  folder.write("model.safetensors", file.bytes());
}

}  // namespace spate::test
