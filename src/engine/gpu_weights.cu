#include <array>
#include <cstring>
#include <map>

#include "core/check.h"
#include "device/gpu.h"
#include "engine/gpu_weights.h"
#include "quant/device_matrix.h"

namespace spate {
namespace {

constexpr std::int64_t kAlign = 256;
constexpr std::int64_t kChunk = std::int64_t{32} << 20;
constexpr std::int64_t kLanes = 2;

std::int64_t aligned(std::int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

DeviceFormat stored_format(DType t) {
  if (t == DType::kF32) return DeviceFormat::kF32;
  return t == DType::kF16 ? DeviceFormat::kF16 : DeviceFormat::kBF16;
}

/// Whether a matrix is byte for byte the rows of the checkpoint.
bool as_stored(const Matrix& m) { return device_format(m.format()) == stored_format(m.stored()); }

/// Decides where everything goes, one after the other; with no memory it only counts.
class Placement {
 public:
  Placement(ParamStore& params, std::byte* memory) : memory_(memory) {
    for (Tensor& t : params.tables()) shared_.emplace(t.data(), take(t.n_bytes()));
  }

  std::byte* table(const Tensor& t) const { return at(shared_.at(t.data())); }
  bool shares_table(const Matrix& m) const {
    const std::vector<RowRun> runs = m.row_runs();
    return as_stored(m) && runs.size() == 1 && shared_.contains(runs.front().rows);
  }
  DeviceMatrix matrix(const Matrix& m) {
    DeviceMatrix d{.format = device_format(m.format()), .n = m.n_rows(), .k = m.k()};
    const bool shares = shares_table(m);
    d.weights =
        at(shares ? shared_.at(m.row_runs().front().rows) : take(weight_bytes(d.format, d.n, d.k)));
    const std::int64_t n_scales = scale_bytes(d.format, d.n);
    if (n_scales > 0) d.scales = reinterpret_cast<float*>(at(take(n_scales)));
    return d;
  }
  std::int64_t used() const { return used_; }

 private:
  std::int64_t take(std::int64_t n_bytes) {
    const std::int64_t begin = used_;
    used_ += aligned(n_bytes);
    return begin;
  }
  std::byte* at(std::int64_t offset) const {
    return memory_ == nullptr ? nullptr : memory_ + offset;
  }

  std::byte* memory_;
  std::int64_t used_ = 0;
  std::map<const void*, std::int64_t> shared_;  // by place in the checkpoint
};

/// Two page-locked buffers in turn: while one travels, the pool fills the other.
class Transfer {
 public:
  static Result<std::unique_ptr<Transfer>> create(Device& device) {
    std::unique_ptr<Transfer> t(new Transfer(device));
    for (Lane& lane : t->lanes_) {
      Result<Buffer> host = Buffer::reserve_pinned(kChunk);
      if (!host) return host.error();
      Result<Buffer> gpu = Buffer::reserve_gpu(kChunk);
      if (!gpu) return gpu.error();
      lane.host = std::move(*host);
      lane.gpu = std::move(*gpu);
    }
    return std::move(t);
  }

  void copy(std::byte* to, const std::byte* from, std::int64_t n_bytes) {
    for (std::int64_t done = 0; done < n_bytes; done += kChunk) {
      const std::int64_t n = std::min(kChunk, n_bytes - done);
      Lane& lane = fill(from + done, n);
      device_.gpu()->copy(to + done, lane.host.data(), n);
      lane.sent.record(*device_.gpu());
    }
  }

  void convert(const DeviceMatrix& to, DType dtype, const RowRun& run, std::int64_t first) {
    const std::int64_t row_bytes = to.k * size_of(dtype);
    const std::int64_t at_once = std::max<std::int64_t>(1, kChunk / row_bytes);
    SPATE_CHECK_OP(row_bytes, <=, kChunk);
    for (std::int64_t row = 0; row < run.n_rows; row += at_once) {
      const std::int64_t n = std::min(at_once, run.n_rows - row);
      Lane& lane = fill(run.rows + row * row_bytes, n * row_bytes);
      device_.gpu()->copy(lane.gpu.data(), lane.host.data(), n * row_bytes);
      device_done(convert_rows(
          to, {.dtype = dtype, .data = lane.gpu.data(), .first = first + row, .count = n},
          device_.gpu()->stream()));
      lane.sent.record(*device_.gpu());
    }
  }

 private:
  struct Lane {
    Buffer host;
    Buffer gpu;
    GpuEvent sent;
    bool used = false;
  };
  explicit Transfer(Device& device) : device_(device) {}

  Lane& fill(const std::byte* from, std::int64_t n_bytes) {
    turn_ = 1 - turn_;
    Lane& lane = lanes_[turn_];
    if (lane.used) lane.sent.wait();
    lane.used = true;
    constexpr std::int64_t kPiece = std::int64_t{1} << 20;
    ThreadPool& pool = device_.pool();
    const std::int64_t pieces = (n_bytes + kPiece - 1) / kPiece;
    pool.run([&](int) {
      for (std::int64_t i = pool.take(); i < pieces; i = pool.take()) {
        const std::int64_t begin = i * kPiece;
        std::memcpy(lane.host.data() + begin, from + begin,
                    static_cast<std::size_t>(std::min(kPiece, n_bytes - begin)));
      }
    });
    return lane;
  }

  Device& device_;
  std::array<Lane, kLanes> lanes_{};
  std::size_t turn_ = 0;
};

void load_matrix(Transfer& transfer, const Matrix& m, const DeviceMatrix& d) {
  std::int64_t first = 0;
  const std::int64_t row_bytes = m.k() * size_of(m.stored());
  for (const RowRun& run : m.row_runs()) {
    if (as_stored(m)) {
      transfer.copy(d.weights + first * row_bytes, run.rows, run.n_rows * row_bytes);
    } else {
      transfer.convert(d, m.stored(), run, first);
    }
    first += run.n_rows;
  }
}

void make_up(const DeviceMatrix& d, std::uint64_t seed, Device& device) {
  device_done(fill_random(d, {.seed = seed}, device.gpu()->stream()));
}

void move_tables(ParamStore& params, const Placement& placement, Transfer* transfer,
                 Device& device) {
  std::uint64_t seed = 1;
  for (Tensor& t : params.tables()) {
    std::byte* to = placement.table(t);
    if (transfer == nullptr) {
      make_up({.format = stored_format(t.dtype()), .n = t.dim(0), .k = t.dim(1), .weights = to},
              seed++, device);
    } else {
      transfer->copy(to, static_cast<const std::byte*>(t.data()), t.n_bytes());
    }
  }
}

}  // namespace

std::int64_t GpuWeights::bytes(ParamStore& params) {
  Placement placement(params, nullptr);
  for (const Matrix& m : params.matrices()) placement.matrix(m);
  return placement.used();
}

std::int64_t GpuWeights::transfer_bytes(bool dummy) { return dummy ? 0 : kLanes * kChunk; }

Result<std::unique_ptr<GpuWeights>> GpuWeights::load(ParamStore& params, Device& device,
                                                     bool dummy) {
  Result<Buffer> memory = Buffer::reserve_gpu(bytes(params));
  if (!memory) return memory.error();
  std::unique_ptr<Transfer> transfer;
  if (!dummy) {
    Result<std::unique_ptr<Transfer>> made = Transfer::create(device);
    if (!made) return made.error();
    transfer = std::move(*made);
  }
  Placement placement(params, memory->data());
  move_tables(params, placement, transfer.get(), device);
  std::uint64_t seed = std::uint64_t{1} << 32;
  for (Matrix& m : params.matrices()) {
    const bool shares = placement.shares_table(m);
    DeviceMatrix d = placement.matrix(m);
    if (!shares && dummy) make_up(d, seed++, device);
    if (!shares && !dummy) load_matrix(*transfer, m, d);
    const std::vector<float> bias = m.row_bias();
    if (!bias.empty()) d.bias = const_cast<float*>(params.vector(bias));
    m.set_on_device(d);
  }
  for (Tensor& t : params.tables()) t = Tensor(placement.table(t), t.dtype(), {t.dim(0), t.dim(1)});
  device.gpu()->wait();
  return std::unique_ptr<GpuWeights>(new GpuWeights(std::move(*memory)));
}

}  // namespace spate
