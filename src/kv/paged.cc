// The page allocator: spans of one block, from a stack of free ones. The block given back last is
// the warmest in the processor's caches and is handed out first.
#include <memory>
#include <vector>

#include "kv/block_table.h"

namespace spate {
namespace {

class PagedAllocator final : public BlockTable {
 public:
  explicit PagedAllocator(const KvAllocatorOptions& options) : BlockTable(options) {
    free_.reserve(static_cast<std::size_t>(options.n_blocks));
    for (std::int64_t block = options.n_blocks - 1; block >= 0; --block) free_.push_back(block);
  }

 private:
  void take(KvHolding& holding, std::int64_t n_blocks) override {
    for (std::int64_t i = 0; i < n_blocks; ++i) {
      const std::int64_t block = free_.back();
      free_.pop_back();
      append(holding, {.first_block = block, .n_blocks = 1}, /*merge=*/false);
    }
  }

  void give(KvSpan run) override {
    for (std::int64_t block = run.end() - 1; block >= run.first_block; --block) {
      free_.push_back(block);
    }
  }

  void drop_tail(KvHolding& /*holding*/) override {}

  std::vector<std::int64_t> free_{};
};

}  // namespace

std::unique_ptr<KvAllocator> make_paged_allocator(const KvAllocatorOptions& options) {
  return std::make_unique<PagedAllocator>(options);
}

}  // namespace spate
