// Random device data for the benchmarks and plans on the device. Never zeros: they run faster.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include <cuda_bf16.h>

#include "bench/cuda/graph_timer.h"

namespace spate::bench {

struct Shape {
  int batch, queries, keys, q_heads, kv_heads, dim;
  bool causal;
  bool ragged = false;  // decode: 1 to `keys` keys, differing between requests

  int keys_of(int request) const { return ragged ? 1 + request * 7919 % keys : keys; }
  std::int64_t all_keys() const {
    std::int64_t sum = 0;
    for (int b = 0; b < batch; ++b) sum += keys_of(b);
    return sum;
  }
};

// Device memory that lives until the shape is done.
class Arena {
 public:
  Arena() = default;
  ~Arena() {
    for (void* p : taken_) cudaFree(p);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  template <class T>
  T* zeros(std::int64_t n) {
    void* p = nullptr;
    require(cudaMalloc(&p, static_cast<std::size_t>(n + 1) * sizeof(T)));
    require(cudaMemset(p, 0, static_cast<std::size_t>(n + 1) * sizeof(T)));
    taken_.push_back(p);
    return static_cast<T*>(p);
  }
  template <class T>
  T* copy(const std::vector<T>& host) {
    T* p = zeros<T>(static_cast<std::int64_t>(host.size()));
    require(cudaMemcpy(p, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    return p;
  }
  __nv_bfloat16* noise(std::int64_t n);           // standard normal
  std::uint8_t* fp8_noise(std::int64_t n_bytes);  // e4m3 of about unit size

 private:
  std::vector<void*> taken_;
};

// kept_up: seconds, 0: only in turns.
void bench_prefill(int number, const Shape& shape, double kept_up);
void bench_page_sizes(int number, const Shape& shape);  // causal, head dim 128
void bench_chosen(int number, const Shape& shape);      // over strided keys, nothing beside it
void bench_decode(int number, const Shape& shape);
void bench_cascade();

inline void print_row(int number, const Shape& s, const char* name, double us, double bytes) {
  const double flops = 4.0 * s.queries * static_cast<double>(s.all_keys()) * s.q_heads * s.dim *
                       (s.causal ? 0.5 : 1);
  std::printf("%2d b%d q%d k%s%d %d/%d d%d %s | %-15s %9.2f us %7.1f TF %6.3f TB/s\n", number,
              s.batch, s.queries, s.ragged ? "<=" : "", s.keys, s.q_heads, s.kv_heads, s.dim,
              s.causal ? "causal" : "full", name, us, flops / us * 1e-6, bytes / us * 1e-6);
}

}  // namespace spate::bench
