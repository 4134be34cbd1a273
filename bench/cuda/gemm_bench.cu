// Linear layers of a decode step: the chain product, the streaming product, the widening product
// (q8, q4) and cuBLASLt, each product alone (weights in rotation, so that they are never in a
// cache) and all of a model's in order, in CUDA graphs with programmatic dependent launch.
// bench_cuda_gemm [lt | chain | stream | widen | steps | step] [8b | 1b] [copies in flight]
// [format]
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cuda_bf16.h>

#include "bench/cuda/expect.h"
#include "bench/cuda/graph_timer.h"
#include "ops/cuda/chain_gemm.h"
#include "ops/cuda/gemm_lt.h"
#include "ops/cuda/stream_gemm.h"
#include "ops/cuda/widen_gemm.h"
#include "quant/device_matrix.h"

namespace spate::bench {
namespace {

using cuda::ProductOutput;
using cuda::StreamFormat;
using cuda::StreamGemmParams;

struct ModelShape {
  const char* name;
  std::int64_t hidden, qkv, ffn, vocab;
  int layers;
};
constexpr ModelShape kShapes[] = {{"8B", 4096, 6144, 14336, 128256, 32},
                                  {"1B", 2048, 3072, 8192, 128256, 16}};
constexpr int kProducts = 5;  // qkv, o, gate+up, down, head
constexpr const char* kNames[kProducts] = {"qkv", "o", "gate+up", "down", "head"};
constexpr std::int64_t kMaxRows = 2048, kMaxLogitRows = 256;

template <class T>
T* allocate(std::int64_t count) {
  void* p = nullptr;
  require(cudaMalloc(&p, static_cast<std::size_t>(count) * sizeof(T)));
  require(cudaMemset(p, 0, static_cast<std::size_t>(count) * sizeof(T)));
  return static_cast<T*>(p);
}

StreamFormat stream_format(DeviceFormat f) {
  if (f == DeviceFormat::kFp8) return StreamFormat::kFp8;
  if (f == DeviceFormat::kQ8) return StreamFormat::kQ8;
  return f == DeviceFormat::kQ4 ? StreamFormat::kQ4 : StreamFormat::kBF16;
}

class Model {
 public:
  Model(const ModelShape& shape, DeviceFormat format) : s(shape), format_(format) {
    for (int layer = 0; layer < s.layers; ++layer) {
      add(s.qkv, s.hidden);
      add(s.hidden, s.hidden);
      add(2 * s.ffn, s.hidden);
      add(s.hidden, s.ffn);
    }
    add(s.vocab, s.hidden);
    x = allocate<float>(kMaxRows * s.hidden);
    norm = allocate<float>(s.hidden);
    qkv = allocate<__nv_bfloat16>(kMaxRows * s.qkv);
    h = allocate<__nv_bfloat16>(kMaxRows * s.ffn * 2);
    logits = allocate<float>(kMaxLogitRows * s.vocab);
    wide = allocate<__nv_bfloat16>(kMaxRows * s.ffn);
    noise(x, kMaxRows, s.hidden, DeviceFormat::kF32);
    noise(norm, 1, s.hidden, DeviceFormat::kF32);
    noise(wide, kMaxRows, s.ffn, DeviceFormat::kBF16);
    require(cudaDeviceSynchronize());
  }
  // Product `kind` of layer `layer`.
  const DeviceMatrix& matrix(int kind, int layer) const {
    return matrices[kind == 4 ? matrices.size() - 1 : static_cast<std::size_t>(layer * 4 + kind)];
  }
  int streamed_rows() const { return cuda::stream_max_rows(stream_format(format_)); }
  int layers(int kind) const { return kind == 4 ? 1 : s.layers; }
  double bytes(int kind) const {
    const DeviceMatrix& m = matrix(kind, 0);
    return static_cast<double>(weight_bytes(m.format, m.n, m.k));
  }

  cudaError_t launch(int kind, int layer, int rows, int copies, cudaStream_t stream) const {
    const DeviceMatrix& m = matrix(kind, layer);
    StreamGemmParams p;
    p.weights = m.weights;
    p.weight_scales = m.scales;
    p.n = m.n;
    p.k = m.k;
    p.rows = rows;
    p.copies_in_flight = copies;
    if (kind == 0 || kind == 2 || kind == 4) {
      p.x = x;
      p.x_stride = s.hidden;
      p.norm_weight = norm;
      p.norm_eps = 1e-5F;
    } else {
      p.x = kind == 1 ? qkv : h;
      p.x_stride = kind == 1 ? s.qkv : s.ffn;
    }
    constexpr ProductOutput kOutputs[] = {ProductOutput::kNarrow, ProductOutput::kAddF32,
                                          ProductOutput::kGated, ProductOutput::kAddF32,
                                          ProductOutput::kF32};
    p.output = kOutputs[kind];
    p.out = out(kind);
    p.out_stride = kind == 2 ? s.ffn : m.n;
    return ops::cuda::stream_gemm(stream_format(format_), p, 132, stream);
  }
  // The bare product: rows as a norm or an activation would have left them.
  cudaError_t launch_widening(int kind, int layer, int rows, cudaStream_t stream) const {
    const DeviceMatrix& m = matrix(kind, layer);
    cuda::WidenGemmParams p;
    p.weights = m.weights;
    p.n = m.n;
    p.k = m.k;
    p.rows = rows;
    p.x = wide;
    p.x_stride = m.k;
    p.out = out(kind);
    p.out_stride = m.n;
    using Output = cuda::ProductOutput;
    constexpr Output kOutputs[] = {Output::kNarrow, Output::kAddF32, Output::kNarrow,
                                   Output::kAddF32, Output::kF32};
    p.output = kOutputs[kind];
    const auto launch =
        format_ == DeviceFormat::kQ8 ? ops::cuda::widen_gemm_q8 : ops::cuda::widen_gemm_q4;
    return launch(p, 132, stream);
  }
  // The bare product, gated and added like the streaming one.
  cudaError_t launch_chain(int kind, int layer, int rows, int kilobytes,
                           cudaStream_t stream) const {
    const DeviceMatrix& m = matrix(kind, layer);
    cuda::ChainGemmParams p;
    p.weights = m.weights;
    p.n = m.n;
    p.k = m.k;
    p.rows = rows;
    p.x = wide;
    p.x_stride = m.k;
    using Output = cuda::ProductOutput;
    constexpr Output kOutputs[] = {Output::kNarrow, Output::kAddF32, Output::kGated,
                                   Output::kAddF32, Output::kF32};
    p.output = kOutputs[kind];
    p.out = out(kind);
    p.out_stride = kind == 2 ? s.ffn : m.n;
    p.copies_in_flight = kilobytes;
    return ops::cuda::chain_gemm_bf16(p, 132, stream);
  }
  ops::cuda::LtProblem problem(int kind, int layer, int rows) const {
    const DeviceMatrix& m = matrix(kind, layer);
    ops::cuda::LtProblem p;
    p.m = rows;
    p.n = m.n;
    p.k = m.k;
    p.a = wide;
    p.w = m.weights;
    p.d = out(kind);
    p.out = kind == 0 || kind == 2 ? DType::kBF16 : DType::kF32;
    p.accumulate = kind == 1 || kind == 3;
    return p;
  }

  ModelShape s;
  std::vector<DeviceMatrix> matrices;
  float *x, *norm, *logits;
  __nv_bfloat16 *qkv, *h, *wide;

 private:
  void* out(int kind) const {
    void* const outs[] = {qkv, x, h, x, logits};
    return outs[kind];
  }
  void add(std::int64_t n, std::int64_t k) {
    DeviceMatrix m{.format = format_, .n = n, .k = k};
    m.weights = allocate<std::byte>(weight_bytes(format_, n, k));
    if (format_ == DeviceFormat::kFp8) m.scales = allocate<float>(n);
    expect(fill_random(m, {.seed = matrices.size(), .deviation = 0.5F / std::sqrt(float(k))},
                       nullptr));
    matrices.push_back(m);
  }
  static void noise(void* p, std::int64_t n, std::int64_t k, DeviceFormat f) {
    expect(fill_random({.format = f, .n = n, .k = k, .weights = static_cast<std::byte*>(p)},
                       {.seed = 99, .deviation = 1.F}, nullptr));
  }
  DeviceFormat format_;
};

// Microseconds of one product, alone in a graph over all layers' weights.
void time_products(const Model& m, int copies) {
  for (int kind = 0; kind < kProducts; ++kind) {
    std::printf("%s %-8s", m.s.name, kNames[kind]);
    for (const int rows : {1, 4, 8, 16}) {
      if (rows > m.streamed_rows()) break;
      GraphTimer timer(std::max(4, m.layers(kind)));
      timer.add("", [&](int i, cudaStream_t stream) {
        return m.launch(kind, i % m.layers(kind), rows, copies, stream);
      });
      timer.run(
          [&](const std::string&, double us) {
            std::printf("  M=%-2d %7.2f us %.2f TB/s", rows, us, m.bytes(kind) / us * 1e-6);
          },
          4);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

void time_steps(const Model& m, int copies) {
  double bytes = 0;
  for (int kind = 0; kind < kProducts; ++kind) bytes += m.bytes(kind) * m.layers(kind);
  std::printf("%s step, %d copies:", m.s.name, copies);
  for (const int rows : {1, 2, 4, 8, 9, 16}) {
    if (rows > m.streamed_rows()) break;
    GraphTimer timer(1);
    timer.add("", [&](int, cudaStream_t stream) {
      for (int layer = 0; layer < m.s.layers; ++layer) {
        for (int kind = 0; kind < 4; ++kind) {
          if (const auto e = m.launch(kind, layer, rows, copies, stream); e != cudaSuccess)
            return e;
        }
      }
      return m.launch(4, 0, rows, copies, stream);
    });
    timer.run([&](const std::string&, double us) {
      std::printf("  M=%d %.0f us (%.2f)", rows, us, bytes / us * 1e-6);
    });
  }
  std::printf("\n");
  std::fflush(stdout);
}

// Microseconds of the widening product, and the sum over a step.
void time_widening(const Model& m) {
  for (const int rows : {17, 32, 64, 96, 128, 256, 512, 1024, 2048}) {
    double sum = 0;
    std::printf("%s widening M=%-4d", m.s.name, rows);
    for (int kind = 0; kind < kProducts; ++kind) {
      if (kind == 4 && rows > 256) continue;  // rows of a prompt have no logits
      GraphTimer timer(std::max(4, m.layers(kind)));
      timer.add("", [&](int i, cudaStream_t stream) {
        return m.launch_widening(kind, i % m.layers(kind), rows, stream);
      });
      timer.run(
          [&](const std::string&, double us) {
            std::printf("  %s %.2f", kNames[kind], us);
            sum += us * m.layers(kind);
          },
          3);
    }
    std::printf("  sum %.0f us\n", sum);
    std::fflush(stdout);
  }
}

// The chain product beside the streaming one.
void time_chains(const Model& m) {
  for (const int rows : {1, 8, 16, 17, 32, 48, 64}) {
    for (int kind = 0; kind < kProducts; ++kind) {
      GraphTimer timer(std::max(4, m.layers(kind)));
      if (rows <= cuda::stream_max_rows(StreamFormat::kBF16)) {
        timer.add("stream", [&](int i, cudaStream_t stream) {
          return m.launch(kind, i % m.layers(kind), rows, 3, stream);
        });
      }
      for (const int kilobytes : {0, 32, 48, 64}) {
        if (kilobytes > 0 && rows > cuda::kNarrowChainRows) continue;
        timer.add("chain " + std::to_string(kilobytes), [&](int i, cudaStream_t stream) {
          return m.launch_chain(kind, i % m.layers(kind), rows, kilobytes, stream);
        });
      }
      std::printf("%s %s M=%d:", m.s.name, kNames[kind], rows);
      timer.run(
          [&](const std::string& name, double us) { std::printf("  %s %.2f", name.c_str(), us); });
      std::printf("  (limit %.2f)\n", m.bytes(kind) / 4.6e6);
      std::fflush(stdout);
    }
  }
}

void time_lt(const Model& m) {
  const auto lt = expect(ops::cuda::GemmLt::create({}));
  const ops::cuda::LtScratch scratch{allocate<std::byte>(ops::cuda::kLtWorkspaceBytes),
                                     ops::cuda::kLtWorkspaceBytes, nullptr};
  for (const int rows : {1, 16, 17, 32, 48, 64, 128}) {
    double sum = 0;
    std::printf("%s cuBLASLt M=%-3d", m.s.name, rows);
    for (int kind = 0; kind < kProducts; ++kind) {
      expect(lt->tune(m.problem(kind, 0, rows), scratch));
      GraphTimer timer(std::max(4, m.layers(kind)));
      timer.add("", [&](int i, cudaStream_t stream) {
        auto on_stream = scratch;
        on_stream.stream = stream;
        expect(lt->run(m.problem(kind, i % m.layers(kind), rows), on_stream));
        return cudaSuccess;
      });
      timer.run(
          [&](const std::string&, double us) {
            std::printf("  %s %.2f (%.2f)", kNames[kind], us, m.bytes(kind) / us * 1e-6);
            sum += us * m.layers(kind);
          },
          3);
    }
    std::printf("  sum %.0f us\n", sum);
    std::fflush(stdout);
  }
}

DeviceFormat format_named(const char* name) {
  for (const auto f : {DeviceFormat::kFp8, DeviceFormat::kQ8, DeviceFormat::kQ4}) {
    if (name_of(f) == name) return f;
  }
  return DeviceFormat::kBF16;
}

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "steps", model = argc > 2 ? argv[2] : "8b";
  const int copies = argc > 3 ? std::atoi(argv[3]) : 3;
  const Model m(kShapes[model == "1b" ? 1 : 0], format_named(argc > 4 ? argv[4] : "bf16"));
  if (what == "lt") time_lt(m);
  if (what == "chain") time_chains(m);
  if (what == "stream") time_products(m, copies);
  if (what == "widen") time_widening(m);
  if (what == "steps") {
    for (const int c : {2, 3, 4, 5}) time_steps(m, c);
  }
  if (what == "step") time_steps(m, copies);
  require(cudaDeviceSynchronize());
  return 0;
}

}  // namespace
}  // namespace spate::bench

int main(int argc, char** argv) { return spate::bench::run(argc, argv); }
