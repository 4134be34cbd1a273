#include "ops/cuda/attention_work.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "ops/cuda/attention_state.h"
#include "spate/kernels/cuda/kv_image.h"

namespace spate::ops::cuda {
namespace {

namespace kernels = spate::cuda;

constexpr int kSplitTokens = 1024;  // with fixed splits
constexpr std::int64_t kAlign = 256;

std::int64_t aligned(std::int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

template <class T>
std::int64_t write(std::byte* to, const std::vector<T>& list) {
  const std::size_t bytes = list.size() * sizeof(T);
  if (bytes > 0) std::memcpy(to, list.data(), bytes);
  return static_cast<std::int64_t>(bytes);
}

}  // namespace

AttentionSizes::AttentionSizes(const AttentionShape& s, const AttentionLimits& l)
    : kernels(find_attention_kernels(s)) {
  const std::int64_t group = s.q_heads / s.kv_heads;
  // The plain kernel takes all rows or whole requests.
  if (s.deterministic && kernels.prefill == nullptr) kernels.decode = nullptr;
  if (kernels.decode != nullptr) {
    const std::int64_t at_once = std::max<std::int64_t>(1, kernels.decode_columns / group);
    const std::int64_t most = s.deterministic
                                  ? l.max_sequences + kMostRecomputedRows
                                  : l.max_sequences * ceil_div(kMostDecodeRows, at_once);
    decode_rows = std::min(l.max_rows, most);
    tickets = decode_rows * s.kv_heads;
    const std::int64_t parts =
        ceil_div(l.max_context, std::max<std::int64_t>(kSplitTokens, l.max_context / 32)) + 1;
    slots = s.deterministic ? tickets * parts : 2 * l.multiprocessors;
  }
  if (kernels.prefill != nullptr) {
    pack_shift = kernels::plan_detail::pack_shift_of(static_cast<int>(group));
    const std::int64_t packed = std::int64_t{1} << pack_shift;
    tiles = (ceil_div(l.max_rows * packed, kernels.prefill_tile_rows) + l.max_sequences) *
            (s.q_heads / packed);
  }
}

AttentionWorkspace::AttentionWorkspace(const AttentionSizes& z, const AttentionShape& s) {
  constexpr std::int64_t kStatBytes = 8;  // maximum and sum
  counters = aligned(z.tickets * 4);
  stats = counters + kAlign;
  out = stats + aligned(z.slots * z.kernels.decode_columns * kStatBytes);
  bytes = out + aligned(z.slots * z.kernels.decode_columns * s.head_dim * 4);
}

AttentionLists::AttentionLists(const AttentionSizes& z, const AttentionLimits& l) {
  const std::int64_t n = z.kernels.decode == nullptr ? 0 : l.multiprocessors;
  rows = shares + n * std::int64_t{sizeof(kernels::DecodeShare)};
  tiles = rows + z.decode_rows * std::int64_t{sizeof(kernels::DecodeRow)};
  bytes = tiles + z.tiles * std::int64_t{sizeof(kernels::PrefillTile)};
}

AttentionState::AttentionState(const AttentionShape& s, const AttentionLimits& l)
    : shape(s), limits(l), sizes(s, l), workspace(sizes, s), lists(sizes, l) {
  auto narrow = [](std::int64_t x) { return static_cast<int>(x); };
  decode_options.q_heads = prefill_options.q_heads = narrow(s.q_heads);
  decode_options.kv_heads = prefill_options.kv_heads = narrow(s.kv_heads);
  decode_options.columns = sizes.kernels.decode_columns;
  decode_options.block_tokens = sizes.kernels.decode_block_tokens;
  decode_options.page_tokens = kernels::kStepBlockTokens;
  decode_options.multiprocessors = narrow(l.multiprocessors);
  decode_options.window_left = narrow(s.window.value_or(0)) - 1;
  decode_options.split_tokens = s.deterministic ? kSplitTokens : 0;
  prefill_options.tile_rows = sizes.kernels.prefill_tile_rows;
  prefill_options.kv_token_bytes =
      std::int64_t{2} * kernels::kv_row_bytes(narrow(s.head_dim), narrow(size_of(s.cache)));
  prefill_options.window = {decode_options.window_left, 0};
  // The same for all steps: tensor maps are made when a launch is captured.
  prefill_options.packing = kernels::PrefillPacking::kAlways;
}

AttentionWork::AttentionWork(std::unique_ptr<AttentionState> state) : state_(std::move(state)) {}
AttentionWork::AttentionWork(AttentionWork&&) noexcept = default;
AttentionWork& AttentionWork::operator=(AttentionWork&&) noexcept = default;
AttentionWork::~AttentionWork() = default;

std::int64_t AttentionWork::workspace_bytes(const AttentionShape& shape,
                                            const AttentionLimits& limits) {
  return AttentionWorkspace(AttentionSizes(shape, limits), shape).bytes;
}

std::int64_t AttentionWork::staged_bytes(const AttentionShape& shape,
                                         const AttentionLimits& limits) {
  return AttentionLists(AttentionSizes(shape, limits), limits).bytes;
}

Result<AttentionWork> AttentionWork::create(const AttentionShape& shape,
                                            const AttentionLimits& limits,
                                            const std::byte* staged) {
  SPATE_CHECK(shape.kv_heads > 0 && shape.q_heads % shape.kv_heads == 0);
  if (shape.head_dim > 256 || shape.head_dim % 8 != 0) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("attention on the GPU: head dim {} is not a multiple of 8 up to 256; "
                             "run this model with --device cpu",
                             shape.head_dim)};
  }
  auto state = std::make_unique<AttentionState>(shape, limits);
  state->staged = staged;
  const char* error = nullptr;
  const std::int64_t bytes = state->workspace.bytes;
  state->memory.reset(static_cast<std::byte*>(allocate_zeroed(bytes, &error)));
  if (state->memory == nullptr) {
    return Error{ErrorCode::kOutOfMemory,
                 fmt::format("attention on the GPU: {} MiB of scratch memory: {}; lower the number "
                             "of sequences or the context",
                             bytes >> 20, error)};
  }
  return AttentionWork(std::move(state));
}

namespace {

// Rows of the prompt together, others one by one.
void part_request(AttentionState& s, const kernels::AttentionRequest& r, std::int32_t n_prompt) {
  if (s.sizes.kernels.decode == nullptr) return s.long_requests.push_back(r);
  kernels::AttentionRequest part = r;
  if (n_prompt > 0) {
    part.q_len = n_prompt;
    part.kv_len = r.kv_len - (r.q_len - n_prompt);
    s.long_requests.push_back(part);
  }
  part.q_len = 1;
  for (std::int32_t row = n_prompt; row < r.q_len; ++row) {
    part.q_begin = r.q_begin + row;
    part.kv_len = r.kv_len - (r.q_len - row - 1);
    s.short_requests.push_back(part);
  }
}

// Sorts the step's sequences into those for decode and those for prefill.
void sort_requests(AttentionState& s, std::span<const SequenceRows> sequences,
                   std::span<const std::int32_t> table_begin) {
  s.short_requests.clear();
  s.long_requests.clear();
  std::int64_t table = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const SequenceRows& from = sequences[i];
    kernels::AttentionRequest r;
    r.q_begin = static_cast<std::int32_t>(from.first_row);
    r.q_len = static_cast<std::int32_t>(from.n_rows);
    r.kv_begin = table_begin.empty() ? static_cast<std::int32_t>(table) : table_begin[i];
    r.kv_len = static_cast<std::int32_t>(from.first_position + from.n_rows);
    r.pages = from.blocks.data();
    table += static_cast<std::int64_t>(from.blocks.size());
    if (from.n_rows == 0) continue;
    if (s.shape.deterministic) {
      part_request(s, r, static_cast<std::int32_t>(from.n_prompt_rows));
      continue;
    }
    const bool decodes = s.sizes.kernels.decode != nullptr && from.n_rows <= kMostDecodeRows;
    (decodes ? s.short_requests : s.long_requests).push_back(r);
  }
}

// Both return how many bytes from `host` on are in use now.
std::int64_t stage_decode(AttentionState& s, std::byte* host) {
  kernels::plan_decode(s.short_requests, s.decode_options, s.decode_plan);
  const kernels::DecodePlan& plan = s.decode_plan;
  SPATE_CHECK_OP(static_cast<std::int64_t>(plan.rows.size()), <=, s.sizes.decode_rows);
  SPATE_CHECK_OP(plan.slots, <=, s.sizes.slots);
  write(host + s.lists.shares, plan.shares);
  return s.lists.rows + write(host + s.lists.rows, plan.rows);
}
std::int64_t stage_prefill(AttentionState& s, std::byte* host) {
  kernels::plan_prefill(s.long_requests, s.prefill_options, s.prefill_plan);
  const auto n_tiles = static_cast<std::int32_t>(s.prefill_plan.tiles.size());
  SPATE_CHECK_OP(n_tiles, <=, s.sizes.tiles);
  std::memcpy(host, &n_tiles, sizeof(n_tiles));
  return s.lists.tiles + write(host + s.lists.tiles, s.prefill_plan.tiles);
}

}  // namespace

std::int64_t AttentionWork::stage(std::span<const SequenceRows> sequences,
                                  std::span<const std::int32_t> table_begin, std::byte* host) {
  AttentionState& s = *state_;
  sort_requests(s, sequences, table_begin);
  std::int64_t used = s.lists.shares;
  std::memset(host, 0, static_cast<std::size_t>(used));  // no tiles
  if (s.sizes.kernels.decode != nullptr) used = stage_decode(s, host);
  const bool prefills = s.sizes.kernels.prefill != nullptr && !s.long_requests.empty();
  return prefills ? stage_prefill(s, host) : used;
}

}  // namespace spate::ops::cuda
