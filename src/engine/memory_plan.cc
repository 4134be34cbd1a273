#include "engine/memory_plan.h"

#include <algorithm>
#include <array>
#include <fstream>

#include <fmt/format.h>

namespace spate {
namespace {

/// The number behind `key` in /proc/meminfo, in bytes; 0 if there is none.
std::int64_t meminfo(std::string_view key) {
  std::ifstream in("/proc/meminfo");
  std::string name;
  std::int64_t value = 0;
  std::string unit;
  while (in >> name >> value && std::getline(in, unit)) {
    if (name == key) return value * 1024;
  }
  return 0;
}

/// The first number in a file, or `otherwise` ("max" and missing files).
std::int64_t number_in(const char* path, std::int64_t otherwise) {
  std::ifstream in(path);
  std::int64_t value = 0;
  return in >> value ? value : otherwise;
}

std::int64_t total_of(const std::vector<MemoryItem>& items, bool page_locked) {
  std::int64_t n = 0;
  for (const MemoryItem& item : items) {
    if (item.page_locked == page_locked) n += item.n_bytes;
  }
  return n;
}

/// The plan's lines; those of a GPU's own needs only there.
std::vector<MemoryItem> items_of(const MemoryDemand& d, std::int64_t kv_blocks) {
  std::vector<MemoryItem> items = {
      {d.on_gpu ? "weights, on the GPU" : "weights, packed", d.weights},
      {fmt::format("key-value cache, {} tokens", kv_blocks * d.block_tokens),
       kv_blocks * d.kv_block},
      {fmt::format("logits of a step, {} rows", d.logit_rows), d.logits},
      {"workspace of a step, at most", d.workspace},
      {"rotary tables, norms, biases", d.vectors}};
  if (!d.on_gpu) return items;
  items.push_back({"batch, attention, sampling, cuBLASLt", d.tables});
  if (d.transfer > 0) items.push_back({"transfer of weights, while loading", d.transfer});
  items.push_back({"page-locked: batch, sampling", d.locked_tables, true});
  items.push_back({"page-locked: logits, once asked for", d.locked_logits, true});
  if (d.transfer > 0) items.push_back({"page-locked: weights, while loading", d.transfer, true});
  return items;
}

}  // namespace

std::int64_t available_memory() {
  const std::int64_t machine = meminfo("MemAvailable:");
  const std::int64_t limit = number_in("/sys/fs/cgroup/memory.max", INT64_MAX);
  if (limit == INT64_MAX) return machine;
  return std::min(machine, limit - number_in("/sys/fs/cgroup/memory.current", 0));
}

std::int64_t MemoryPlan::total() const { return total_of(items, false); }

std::string human_bytes(std::int64_t n_bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(n_bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", n_bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string memory_table(const std::vector<MemoryItem>& items) {
  std::string table;
  const auto add_line = [&](std::string_view name, std::int64_t n_bytes) {
    table += fmt::format("  {:<40}{:>12}\n", name, human_bytes(n_bytes));
  };
  const auto add_part = [&](bool page_locked, std::string_view total) {
    for (const MemoryItem& item : items) {
      if (item.page_locked == page_locked) add_line(item.name, item.n_bytes);
    }
    add_line(total, total_of(items, page_locked));
  };
  add_part(false, "total");
  if (total_of(items, true) > 0) add_part(true, "total page-locked");
  return table;
}

std::int64_t logit_row_bytes(std::int64_t vocab_size) {
  constexpr std::int64_t kAlignment = 256;
  return 4 * vocab_size + kAlignment;
}

LogitRows logit_rows(const EngineOptions& o, std::int64_t vocab_size) {
  constexpr std::int64_t kScoredBytes = std::int64_t{256} << 20;
  constexpr std::int64_t kAtLeast = 64;  // a block of the cache: steps of scoring stay of use
  const std::int64_t fit = kScoredBytes / logit_row_bytes(vocab_size) / kAtLeast * kAtLeast;
  const std::int64_t sampled = std::min(o.max_requests, o.max_batch_tokens);
  const std::int64_t scored = std::min(std::max(fit, kAtLeast), o.max_batch_tokens);
  return {.scored = scored, .total = std::min(scored + sampled, o.max_batch_tokens)};
}

Result<MemoryPlan> plan_memory(const MemoryDemand& d) {
  const std::int64_t blocks_per_sequence = (d.context_length + d.block_tokens - 1) / d.block_tokens;
  const std::int64_t fixed = d.weights + d.workspace + d.logits + d.vectors + d.tables + d.transfer;
  std::int64_t kv_bytes = d.kv_memory;
  if (kv_bytes == 0) {
    // Room for every request at full length, but no more than two thirds of what is left: the
    // mapped checkpoint and the rest of the machine need the page cache. On a GPU only recorded
    // launches and libraries come later.
    constexpr std::int64_t kGpuReserve = std::int64_t{2} << 30;
    const std::int64_t wanted = blocks_per_sequence * d.max_requests * d.kv_block;
    const std::int64_t left = d.available - fixed;
    const std::int64_t most =
        d.on_gpu ? left - std::min(kGpuReserve, d.available / 16) : left / 3 * 2;
    kv_bytes = std::min(wanted, std::max<std::int64_t>(0, most));
  }
  const std::int64_t kv_blocks = kv_bytes / d.kv_block;
  const MemoryPlan plan{.kv_blocks = kv_blocks, .items = items_of(d, kv_blocks)};
  if (plan.kv_blocks < 1 || plan.total() > d.available) {
    return Error{
        ErrorCode::kOutOfMemory,
        fmt::format("not enough memory: {} are available, but the plan is\n{}"
                    "lower --kv-memory (at least {}), --context-length or "
                    "--max-batch-tokens, or quantize with --weights q8 or q4",
                    human_bytes(d.available), memory_table(plan.items), human_bytes(d.kv_block))};
  }
  return plan;
}

}  // namespace spate
