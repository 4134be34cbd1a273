// bench_cuda_attention [sustained|pages|chosen] [SHAPE NUMBERS...]: times of the attention kernels,
// alternatives in turn; with `sustained`, each of prefill kept up for a second as well, and its
// energy; with `pages`, causal prefill over pages of several sizes instead; with `chosen`, prefill
// as the engine chooses it and nothing else, to be run in turns with another program.
#include <cctype>
#include <string>

#include "bench/cuda/bench_data.h"

namespace spate::bench {
namespace {

__device__ std::uint32_t mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return static_cast<std::uint32_t>(x ^ (x >> 33));
}
__device__ float normal(std::uint64_t i) {
  const float u = (static_cast<float>(mix(2 * i)) + 1.f) * 2.3283064e-10f;
  const float v = static_cast<float>(mix(2 * i + 1)) * 2.3283064e-10f;
  return sqrtf(-2 * __logf(fminf(u, 1.f))) * cospif(2 * v);
}
__global__ void fill_normal(__nv_bfloat16* p, std::int64_t n) {
  for (std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x; i < n;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    p[i] = __float2bfloat16(normal(static_cast<std::uint64_t>(i)));
  }
}
// Sign and mantissa at random, exponents around one.
__global__ void fill_fp8(std::uint8_t* p, std::int64_t n) {
  for (std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x; i < n;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    const std::uint32_t x = mix(static_cast<std::uint64_t>(i));
    p[i] = static_cast<std::uint8_t>((x & 0x87u) | ((4 + (x >> 8 & 3)) << 3));
  }
}

}  // namespace

__nv_bfloat16* Arena::noise(std::int64_t n) {
  auto* p = zeros<__nv_bfloat16>(n);
  fill_normal<<<1056, 256>>>(p, n);
  require(cudaDeviceSynchronize());
  return p;
}
std::uint8_t* Arena::fp8_noise(std::int64_t n_bytes) {
  auto* p = zeros<std::uint8_t>(n_bytes);
  fill_fp8<<<1056, 256>>>(p, n_bytes);
  require(cudaDeviceSynchronize());
  return p;
}

}  // namespace spate::bench

namespace {

constexpr spate::bench::Shape kShapes[] = {
    {1, 1024, 1024, 64, 8, 128, true},       {16, 1024, 1024, 16, 16, 128, true},
    {4, 4096, 4096, 16, 16, 128, true},      {1, 16384, 16384, 16, 16, 128, true},
    {1, 16384, 16384, 16, 16, 128, false},   {8, 4096, 4096, 32, 8, 128, true},
    {1, 16384, 16384, 32, 32, 64, true},     {1, 16384, 16384, 8, 8, 256, true},
    {128, 1, 1024, 64, 8, 128, false},       {64, 1, 8192, 32, 8, 128, false},
    {256, 1, 2048, 32, 8, 128, false},       {1, 1, 131072, 32, 8, 128, false},
    {1, 1, 1024, 32, 8, 128, false},         {7, 1, 999, 32, 8, 128, false},
    {128, 1, 1025, 64, 8, 128, false},       {600, 1, 1024, 32, 8, 128, false, true},
    {100, 1, 1536, 32, 8, 128, false, true}, {4, 2048, 2048, 32, 8, 128, true},
    {4, 2048, 2048, 16, 8, 128, true},       {1, 16384, 16384, 32, 8, 128, true}};
constexpr int kPrefix = static_cast<int>(std::size(kShapes));  // the number of the shared prefix

void run(int number, const std::string& mode) {
  if (number == kPrefix) {
    if (mode.empty() || mode == "sustained") spate::bench::bench_cascade();
    return;
  }
  const spate::bench::Shape& s = kShapes[number];
  const bool prefill = s.queries > 1;
  if (mode == "pages") {
    if (prefill && s.causal && s.dim == 128) spate::bench::bench_page_sizes(number, s);
  } else if (mode == "chosen") {
    if (prefill) spate::bench::bench_chosen(number, s);
  } else if (prefill) {
    spate::bench::bench_prefill(number, s, mode == "sustained" ? 1 : 0);
  } else {
    spate::bench::bench_decode(number, s);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool named = argc > 1 && std::isalpha(static_cast<unsigned char>(argv[1][0])) != 0;
  const std::string mode = named ? argv[1] : "";
  const int first = named ? 2 : 1;
  for (int i = 0; i <= kPrefix; ++i) {
    bool wanted = argc <= first;
    for (int a = first; a < argc; ++a) wanted = wanted || std::atoi(argv[a]) == i;
    if (wanted) run(i, mode);
    std::fflush(stdout);
  }
  return 0;
}
