// One request whose text goes to standard output as it comes.
#pragma once

#include "apps/interrupt.h"
#include "spate/engine.h"

namespace spate::apps {

/// Ends early, with what there is until then, after Ctrl-C or when nobody reads standard output any
/// more; also in the middle of a long prompt.
Result<RequestResult> stream_to_stdout(Engine& engine, Request request, const Interrupt& interrupt);

}  // namespace spate::apps
