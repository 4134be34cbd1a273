// The row kernels as templates of the vector width W, on the compilers' vector extension.
// Included by the row_kernels*.cc files only. Everything is in an unnamed namespace and nothing
// of the standard library is instantiated here: a function compiled for AVX-512 must never be
// the copy that the linker keeps for everybody.
#pragma once

#include "sample/row_kernels.h"

namespace spate::internal {
namespace {

inline constexpr std::int64_t kLanes = 16;
inline constexpr float kMinusInfinity = -__builtin_inff();

template <int W>
struct Simd {
  using F [[gnu::vector_size(4 * W)]] = float;
  using I [[gnu::vector_size(4 * W)]] = std::int32_t;
  using Half [[gnu::vector_size(2 * W)]] = float;
  using D [[gnu::vector_size(4 * W)]] = double;  // W / 2 of them: a register as wide as F
  static constexpr std::int64_t kParts = kLanes / W;

  static void load(const float* from, F* to) { __builtin_memcpy(to, from, sizeof(F)); }
  static void store(const F& from, float* to) { __builtin_memcpy(to, &from, sizeof(F)); }

  static void fill(float value, F* to) { *to = value - F{}; }

  static void halves(const F& from, Half* low, Half* high) {
    Half both[2];
    __builtin_memcpy(both, &from, sizeof(F));
    *low = both[0];
    *high = both[1];
  }

  // exp(y) for y <= 0; zero below -87, where floats would become subnormal. Cody and Waite's
  // reduction y = n ln 2 + r, |r| <= ln 2 / 2, and 1 + r + r^2 q(r) with the minimax q of degree
  // 4, whose relative error is 4e-9; the rest of the error is rounding.
  static void exp(const F& in, F* out) {
    const I alive = in > -87.0F;
    const F y = alive ? in : F{};
    const F shifted = y * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the sum's low bits are n
    const F n = shifted - 12582912.0F;
    const F r = (y - n * 0.693359375F) - n * -2.12194440e-4F;
    F p = r * 1.3814599e-3F + 8.368717e-3F;
    p = p * r + 4.166839e-2F;
    p = p * r + 1.6666521e-1F;
    p = p * r + 4.9999994e-1F;
    p = (p * r) * r + r;
    p = p + 1.0F;
    I bits;
    I exponent;
    __builtin_memcpy(&bits, &p, sizeof(I));
    __builtin_memcpy(&exponent, &shifted, sizeof(I));
    bits = bits + (exponent << 23);  // the magic number's own low bits vanish in the shift
    F scaled;
    __builtin_memcpy(&scaled, &bits, sizeof(F));
    *out = alive ? scaled : F{};
  }
};

// The 16 partial sums of a piece, folded in halves.
inline double fold(const double* lanes) {
  double s[8];
  for (int i = 0; i < 8; ++i) s[i] = lanes[i] + lanes[i + 8];
  for (int i = 0; i < 4; ++i) s[i] += s[i + 4];
  return (s[0] + s[2]) + (s[1] + s[3]);
}

// Sums in double, one a lane. Callers add up a few floats a lane first: cheap, and the error of
// three such additions (2^-22.4) or seven (2^-21) is the whole error of a mass.
template <int W>
class PieceSum {
 public:
  void add(std::int64_t part, const typename Simd<W>::F& w) {
    Half low;
    Half high;
    Simd<W>::halves(w, &low, &high);
    low_[part] += __builtin_convertvector(low, Double);
    high_[part] += __builtin_convertvector(high, Double);
  }
  double total() const {
    double lanes[kLanes];
    for (std::int64_t part = 0; part < Simd<W>::kParts; ++part) {
      __builtin_memcpy(lanes + part * W, &low_[part], sizeof(Double));
      __builtin_memcpy(lanes + part * W + W / 2, &high_[part], sizeof(Double));
    }
    return fold(lanes);
  }

 private:
  using Half = typename Simd<W>::Half;
  using Double = typename Simd<W>::D;
  Double low_[Simd<W>::kParts] = {};
  Double high_[Simd<W>::kParts] = {};
};

template <int N>
inline float max_of(const float* v) {
  if constexpr (N == 1) {
    return v[0];
  } else {
    float half[N / 2];
    for (int i = 0; i < N / 2; ++i) half[i] = v[i] > v[i + N / 2] ? v[i] : v[i + N / 2];
    return max_of<N / 2>(half);
  }
}

// Calls `body(pointer, first)` for each whole group of G elements; the last, partial group comes
// from a copy that is filled up with -inf.
template <std::int64_t G, class Body>
inline void for_groups(const float* x, std::int64_t n, const Body& body) {
  std::int64_t i = 0;
  for (; i + G <= n; i += G) body(x + i, i);
  if (i == n) return;
  float last[G];
  for (std::int64_t j = 0; j < G; ++j) last[j] = i + j < n ? x[i + j] : kMinusInfinity;
  body(last, i);
}

template <int W>
void scan(const float* x, std::int64_t n, float* maxima, RowScan* out) {
  using S = Simd<W>;
  float row_max = kMinusInfinity;
  typename S::I nan = {};
  for_groups<kBlock>(
      x, n, [&](const float* block, std::int64_t first) __attribute__((always_inline)) {
        typename S::F top;
        S::fill(kMinusInfinity, &top);
        for (std::int64_t i = 0; i < kBlock; i += W) {
          typename S::F v;
          S::load(block + i, &v);
          nan |= v != v;
          top = v > top ? v : top;
        }
        float lanes[W];
        S::store(top, lanes);
        const float max = max_of<W>(lanes);
        maxima[first / kBlock] = max;
        row_max = max > row_max ? max : row_max;
      });
  std::int32_t any = 0;
  for (int i = 0; i < W; ++i) any |= nan[i];
  *out = {row_max, any != 0};
}

template <int W>
[[gnu::always_inline]] inline void weigh_block(const float* x, float max, float inverse_temperature,
                                               float* w, PieceSum<W>* sum) {
  using S = Simd<W>;
  for (std::int64_t part = 0; part < S::kParts; ++part) {
    typename S::F run = {};
    for (std::int64_t i = part * W; i < kBlock; i += kLanes) {
      typename S::F v;
      S::load(x + i, &v);
      S::exp((v - max) * inverse_temperature, &v);
      S::store(v, w + i);
      run += v;
    }
    sum->add(part, run);
  }
}

template <int W>
void weigh(const float* x, std::int64_t n, float max, float inverse_temperature, float* w,
           double* sums) {
  for (std::int64_t piece = 0; piece < n; piece += kPiece) {
    const std::int64_t size = n - piece < kPiece ? n - piece : kPiece;
    PieceSum<W> sum;
    for_groups<kBlock>(
        x + piece, size, [&](const float* from, std::int64_t first) __attribute__((always_inline)) {
          weigh_block<W>(from, max, inverse_temperature, w + piece + first, &sum);
        });
    for (std::int64_t i = block_count(size) * kBlock; i < kPiece; ++i) w[piece + i] = 0;
    sums[piece / kPiece] = sum.total();
  }
}

inline constexpr std::int64_t kTailRun = 8 * kLanes;

template <int W>
[[gnu::always_inline]] inline void tails_run(const float* keys, const float* w, const float* pivots,
                                             PieceSum<W>* mass, typename Simd<W>::I* count) {
  using S = Simd<W>;
  for (std::int64_t part = 0; part < S::kParts; ++part) {
    typename S::F sum[kPivots] = {};
    for (std::int64_t i = part * W; i < kTailRun; i += kLanes) {
      typename S::F key;
      typename S::F weight;
      S::load(keys + i, &key);
      S::load(w + i, &weight);
      for (int p = 0; p < kPivots; ++p) {
        const typename S::I above = key > pivots[p];
        sum[p] += above ? weight : typename S::F{};
        count[p] -= above;
      }
    }
    for (int p = 0; p < kPivots; ++p) mass[p].add(part, sum[p]);
  }
}

template <int W>
void tails(const float* keys, const float* w, std::int64_t n, const float* pivots, Tail* out) {
  for (int p = 0; p < kPivots; ++p) out[p] = {};
  for (std::int64_t piece = 0; piece < n; piece += kPiece) {
    PieceSum<W> mass[kPivots];
    typename Simd<W>::I count[kPivots] = {};
    for (std::int64_t run = piece; run < piece + kPiece; run += kTailRun) {
      tails_run<W>(keys + run, w + run, pivots, mass, count);
    }
    for (int p = 0; p < kPivots; ++p) {
      out[p].mass += mass[p].total();
      for (int i = 0; i < W; ++i) out[p].count += count[p][i];
    }
  }
}

inline std::int64_t collect(const float* keys, std::int64_t n, float lo, float hi,
                            std::int32_t* out) {
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    out[found] = static_cast<std::int32_t>(i);  // branch-free: the test decides a step, not a jump
    found += static_cast<std::int64_t>((keys[i] > lo) & (keys[i] <= hi));
  }
  return found;
}

template <int W>
[[gnu::always_inline]] inline void keep_block(const float* keys, float lo, float* w,
                                              PieceSum<W>* sum) {
  using S = Simd<W>;
  for (std::int64_t part = 0; part < S::kParts; ++part) {
    typename S::F run = {};
    for (std::int64_t i = part * W; i < kBlock; i += kLanes) {
      typename S::F key;
      typename S::F weight;
      S::load(keys + i, &key);
      S::load(w + i, &weight);
      weight = key > lo ? weight : typename S::F{};
      S::store(weight, w + i);
      run += weight;
    }
    sum->add(part, run);
  }
}

template <int W>
void keep(const float* keys, float lo, float* w, std::int64_t n, double* sums) {
  for (std::int64_t piece = 0; piece < n; piece += kPiece) {
    PieceSum<W> sum;
    for (std::int64_t block = piece; block < piece + kPiece; block += kBlock) {
      keep_block<W>(keys + block, lo, w + block, &sum);
    }
    sums[piece / kPiece] = sum.total();
  }
}

template <int W>
constexpr RowKernels make_kernels(const char* name) {
  return {name, &scan<W>, &weigh<W>, &tails<W>, &collect, &keep<W>};
}

}  // namespace
}  // namespace spate::internal
