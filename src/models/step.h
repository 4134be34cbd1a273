// What a forward pass may touch, passed down explicitly; nothing is global.
#pragma once

#include "device/arena.h"
#include "device/device.h"
#include "kv/cache.h"
#include "ops/batch.h"

namespace spate {

struct Step {
  Device& device;
  Arena& arena;  // results of this step
  KvCache& kv;
  const Batch& batch;
};

}  // namespace spate
