// Linear layers of a step of many rows: the chain product (of more than 64 rows in tiles) beside
// cuBLASLt (and the activation's kernel behind it, where there are gates), in CUDA graphs, in
// turns, on weights in rotation; with `sustained`, each kept up for a second as well, and its
// energy. bench_cuda_tiles [8b | 1b] [all: every width] [sustained] [rows ...]
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/cuda/expect.h"
#include "bench/cuda/graph_timer.h"
#include "ops/cuda/chain_gemm.h"
#include "ops/cuda/gemm_lt.h"
#include "quant/device_matrix.h"
#include "spate/kernels/cuda/activation.cuh"

namespace spate::bench {
namespace {

using cuda::ProductOutput;

std::byte* noise(std::int64_t n, std::int64_t k, float deviation, std::uint64_t seed) {
  void* p = nullptr;
  require(cudaMalloc(&p, static_cast<std::size_t>(n * k * 2)));
  const DeviceMatrix m{
      .format = DeviceFormat::kBF16, .n = n, .k = k, .weights = static_cast<std::byte*>(p)};
  expect(fill_random(m, {.seed = seed, .deviation = deviation}, nullptr));
  return static_cast<std::byte*>(p);
}

struct Product {
  const char* name;
  std::int64_t n, k;
  ProductOutput output;
  bool gated() const { return output == ProductOutput::kGated; }
};

class TilesBench {
 public:
  TilesBench(const Product& product, std::int64_t most_rows) : s(product) {
    const std::int64_t copies =
        std::max<std::int64_t>(2, (std::int64_t{400} << 20) / (s.n * s.k * 2));
    for (std::int64_t i = 0; i < copies; ++i) {
      weights.push_back(noise(s.n, s.k, 0.5F / std::sqrt(static_cast<float>(s.k)),
                              static_cast<std::uint64_t>(i)));
    }
    x = noise(most_rows, s.k, 1, 99);
    sums = noise(most_rows, 2 * s.n, 0.1F, 98);
    out = noise(most_rows, s.n, 1, 97);
    void* p = nullptr;
    require(cudaMalloc(&p, ops::cuda::kLtWorkspaceBytes));
    scratch = {p, ops::cuda::kLtWorkspaceBytes, nullptr};
  }
  ~TilesBench() {
    for (std::byte* w : weights) cudaFree(w);
    for (void* p : {static_cast<void*>(x), static_cast<void*>(sums), static_cast<void*>(out),
                    scratch.workspace}) {
      cudaFree(p);
    }
  }
  TilesBench(const TilesBench&) = delete;
  TilesBench& operator=(const TilesBench&) = delete;

  void run(std::int64_t rows, bool all_widths, bool sustained) {
    const auto lt = expect(ops::cuda::GemmLt::create({.deterministic = true}));
    GraphTimer timer(static_cast<int>(std::clamp<std::int64_t>(16384 / rows, 4, 48)));
    std::printf("%-8s rows %5ld:", s.name, static_cast<long>(rows));
    timer.add("cuBLASLt",
              [&](int i, cudaStream_t stream) { return library(*lt, i, rows, stream); });
    const bool takes = s.output != ProductOutput::kAddF32 || rows <= cuda::kWideChainRows;
    if (takes)
      timer.add("chain", [&](int i, cudaStream_t stream) { return own(i, rows, 0, stream); });
    for (const int width : {128, 160, 192, 224, 256}) {
      if (!all_widths || s.output == ProductOutput::kAddF32) break;
      timer.add(std::to_string(width),
                [&, width](int i, cudaStream_t stream) { return own(i, rows, width, stream); });
    }
    const double operations = 2.0 * static_cast<double>(rows * s.n * s.k);
    double first = 0;
    timer.run([&](const std::string& name, double us) {
      if (first == 0) first = us;
      std::printf("  %s %.1f (%.0f TF, %.2f)", name.c_str(), us, operations / us * 1e-6,
                  us / first);
    });
    std::printf("\n");
    if (sustained) {
      timer.keep_up(1, [](const std::string& name, double us, double mj) {
        std::printf("   kept up: %-10s %9.2f us %9.3f mJ\n", name.c_str(), us, mj);
      });
    }
    std::fflush(stdout);
  }

 private:
  const std::byte* layer(int i) const {
    return weights[static_cast<std::size_t>(i) % weights.size()];
  }
  cudaError_t library(ops::cuda::GemmLt& lt, int i, std::int64_t rows, cudaStream_t stream) {
    ops::cuda::LtProblem p;
    p.m = rows;
    p.n = s.n;
    p.k = s.k;
    p.accumulate = s.output == ProductOutput::kAddF32;
    p.out = p.accumulate ? DType::kF32 : DType::kBF16;
    p.a = x;
    p.w = layer(i);
    p.d = sums;
    auto on_stream = scratch;
    on_stream.stream = stream;
    expect(lt.run(p, on_stream));
    if (!s.gated()) return cudaSuccess;
    cuda::ActivationParams a{};
    a.x = sums;
    a.x_type = a.out_type = cuda::RowType::kBF16;
    a.x_stride = s.n;
    a.gated = true;
    a.out = out;
    a.out_stride = a.n = static_cast<int>(s.n / 2);
    a.rows = rows;
    a.dependent_launch = true;
    return cuda::launch_activation(a, stream);
  }
  cudaError_t own(int i, std::int64_t rows, int width, cudaStream_t stream) {
    cuda::ChainGemmParams p;
    p.weights = layer(i);
    p.n = s.n;
    p.k = s.k;
    p.rows = static_cast<int>(rows);
    p.x = x;
    p.x_stride = s.k;
    p.out = s.output == ProductOutput::kAddF32 ? sums : out;
    p.out_stride = s.gated() ? s.n / 2 : s.n;
    p.output = s.output;
    p.tile_width = width;
    return ops::cuda::chain_gemm_bf16(p, 132, stream);
  }

  Product s;
  std::vector<std::byte*> weights;
  std::byte *x, *sums, *out;
  ops::cuda::LtScratch scratch;
};

}  // namespace
}  // namespace spate::bench

int main(int argc, char** argv) {
  using spate::bench::Product;
  bool small = false, all = false, sustained = false;
  std::vector<std::int64_t> rows;
  for (int i = 1; i < argc; ++i) {
    small = small || std::strcmp(argv[i], "1b") == 0;
    all = all || std::strcmp(argv[i], "all") == 0;
    sustained = sustained || std::strcmp(argv[i], "sustained") == 0;
    if (const int n = std::atoi(argv[i]); n > 16) rows.push_back(n);
  }
  if (rows.empty()) rows = {48, 64, 96, 128, 192, 256, 342, 512, 768, 1024, 2048, 4096, 16384};
  const std::int64_t hidden = small ? 2048 : 4096, ffn = small ? 8192 : 14336;
  using Output = spate::cuda::ProductOutput;
  for (const Product& p : {Product{"qkv", small ? 3072 : 6144, hidden, Output::kNarrow},
                           Product{"o", hidden, hidden, Output::kAddF32},
                           Product{"gate+up", 2 * ffn, hidden, Output::kGated},
                           Product{"down", hidden, ffn, Output::kAddF32}}) {
    spate::bench::TilesBench bench(p, *std::max_element(rows.begin(), rows.end()));
    for (const auto r : rows) bench.run(r, all, sustained);
  }
  return 0;
}
