// The GPU of a build without CUDA: there is none.
#include "core/check.h"
#include "device/buffer.h"
#include "device/device.h"
#include "device/gpu.h"
#include "device/gpu_timeline.h"

namespace spate {
namespace {

Error no_cuda() {
  return {ErrorCode::kUnsupported,
          "this program was built without CUDA; build it with ./dev build cuda (the CUDA toolkit, "
          "13.0 or newer, must be there), or use --device cpu"};
}

}  // namespace

int code_architecture() { return 0; }
std::string gpu_bus_id(int /*ordinal*/) { return {}; }
Result<std::unique_ptr<Gpu>> Gpu::open(int /*ordinal*/) { return no_cuda(); }
Gpu::Gpu() = default;
Gpu::~Gpu() = default;
std::int64_t Gpu::total_bytes() const { return 0; }
std::int64_t Gpu::free_bytes() const { return 0; }
void Gpu::copy(void* /*to*/, const void* /*from*/, std::int64_t /*n_bytes*/) { SPATE_CHECK(false); }
void Gpu::fill_zero(void* /*at*/, std::int64_t /*n_bytes*/) { SPATE_CHECK(false); }
void Gpu::wait() { SPATE_CHECK(false); }

GpuEvent::GpuEvent() = default;
GpuEvent::~GpuEvent() { SPATE_CHECK(event_ == nullptr); }
void GpuEvent::record(Gpu& /*gpu*/) { SPATE_CHECK(false); }
void GpuEvent::wait() const { SPATE_CHECK(false); }
double GpuEvent::seconds_since(const GpuEvent& /*earlier*/) const { return 0.0; }

GpuGraph::~GpuGraph() { SPATE_CHECK(graph_ == nullptr); }
void GpuGraph::launch(Gpu& /*gpu*/) { SPATE_CHECK(false); }

GpuRecording::GpuRecording(Gpu& gpu) : gpu_(gpu) { SPATE_CHECK(false); }
GpuRecording::~GpuRecording() { SPATE_CHECK(finished_ && gpu_.stream() != nullptr); }
GpuGraph GpuRecording::finish() { return {}; }

Result<std::unique_ptr<Device>> Device::cuda(int /*ordinal*/, const CpuOptions& /*host*/) {
  return no_cuda();
}
Result<Buffer> Buffer::reserve_gpu(std::int64_t /*n_bytes*/) { return no_cuda(); }
Result<Buffer> Buffer::reserve_pinned(std::int64_t /*n_bytes*/) { return no_cuda(); }

}  // namespace spate
