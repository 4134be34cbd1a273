#include "engine/engine_impl.h"

#include <algorithm>

#include <fmt/format.h>

#include "device/gpu.h"
#include "sample/params.h"

namespace spate {

Result<RequestId> Engine::Impl::submit(Request request) {
  SamplingParams& params = request.sampling;
  if (request.prompt.empty()) {
    return Error{ErrorCode::kInvalidArgument, "the prompt is empty; it needs at least one token"};
  }
  for (const TokenId id : request.prompt) {
    if (id < 0 || id >= info.vocab_size) {
      return Error{
          ErrorCode::kInvalidArgument,
          fmt::format("prompt token {} is not in the vocabulary of {}", id, info.vocab_size)};
    }
  }
  const bool only_scores = params.max_tokens == 0 && params.prompt_logprobs.has_value();
  SamplingParams checked = params;
  if (only_scores) checked.max_tokens = 1;
  Result<Sampler> sampler = Sampler::make(checked, info.vocab_size, info.eos_token_ids);
  if (!sampler) return sampler.error();
  const Result<void> fits =
      scheduler_->admissible(static_cast<std::int64_t>(request.prompt.size()), params.max_tokens);
  if (!fits) return fits.error();
  const RequestId id = next_id_++;
  const std::uint64_t seed =
      params.seed.value_or(request_seed(options.seed, static_cast<std::uint64_t>(id)));
  mailbox_.post(std::make_unique<RequestState>(id, std::move(request), std::move(*sampler), seed));
  return id;
}

void Engine::Impl::read_mail() {
  mailbox_.collect(mail_);
  for (Mail& mail : mail_) {
    if (auto* state = std::get_if<std::unique_ptr<RequestState>>(&mail)) {
      admit(std::move(*state));
    } else {
      cancel_now(std::get<CancelOrder>(mail).id);
    }
  }
}

void Engine::Impl::admit(std::unique_ptr<RequestState> state) {
  const SamplingParams& params = state->request.sampling;
  const std::vector<TokenId>& prompt = state->request.prompt;
  if (params.prompt_logprobs) state->prompt_logprobs.resize(prompt.size());
  for (std::int64_t i = 0; i < params.n; ++i) {
    SequenceSpec spec{
        .prompt = prompt,
        .max_new_tokens = params.max_tokens,
        .fixed_length = params.ignore_eos && params.stop.empty() && params.stop_token_ids.empty(),
        .priority = state->request.priority,
        .arrival_ns = state->submitted.time_since_epoch().count(),
        .request = state->id};
    if (params.prompt_logprobs && i == 0) spec.first_logits = 0;
    if (i > 0) spec.same_prompt_as = state->branches.front().sequence;
    const Result<SequenceId> sequence = scheduler_->add(std::move(spec));
    SPATE_CHECK(sequence.has_value());  // submit asked whether it is admissible
    state->branches.push_back(
        {.sequence = *sequence,
         .stream = std::make_unique<Stream>(Stream::Shared{.params = params,
                                                           .sampler = state->sampler,
                                                           .tokenizer = tokenizer.get(),
                                                           .prompt = prompt,
                                                           .eos_ids = info.eos_token_ids,
                                                           .seed = state->seed},
                                            i)});
  }
  requests_.emplace(state->id, std::move(state));
}

void Engine::Impl::cancel_now(RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  RequestState& request = *found->second;
  for (RequestState::Branch& b : request.branches) {
    if (b.done) continue;
    scheduler_->cancel(b.sequence);
    executor_->forget(b.sequence);
    b.stream->finish(FinishReason::kCancelled);
    b.done = true;
  }
  finish_if_done(request);
}

// With a device that runs ahead, a step launches one plan and looks at the results of the plan
// before it: the device computes while the host reads, delivers and plans.
bool Engine::Impl::step() {
  read_mail();
  if (failure_ && !requests_.empty()) fail_everything(failure_->message);
  if (failure_) return false;
  if (!scheduler_->has_work() && n_flying_ == 0) return false;
  try {
    const bool launched = launch_next();
    const bool full = n_flying_ == static_cast<std::size_t>(executor_->depth());
    if (n_flying_ > 0 && (full || !launched)) collect_oldest();
  } catch (const DeviceError& error) {
    fail_everything(error.what());
  }
  const bool goes_on = scheduler_->has_work() || n_flying_ > 0;
  if (!goes_on) executor_->rest();
  return goes_on;
}

bool Engine::Impl::launch_next() {
  if (!scheduler_->has_work()) return false;
  const std::size_t newest = (first_flight_ + n_flying_ + 1) % flights_.size();
  if (n_flying_ > 0 && flights_[newest].on_host) return false;
  Flight& flight = flights_[(first_flight_ + n_flying_) % flights_.size()];
  flight.begin = Clock::now();
  scheduler_->next(flight.plan, {});
  for (const SequenceId id : flight.plan.preempted) executor_->forget(id);
  if (flight.plan.empty()) return false;
  list_rows(flight);
  executor_->launch(flight.plan, *scheduler_, *allocator_, orders_);
  ++n_flying_;
  return true;
}

void Engine::Impl::collect_oldest() {
  Flight& flight = flights_[first_flight_];
  const StepResult result = executor_->collect();
  first_flight_ = (first_flight_ + 1) % flights_.size();
  --n_flying_;
  find_requests(flight);
  work_on_rows(flight, result);
  commit_and_deliver(flight);
  ++stats_.steps;
  if (!packed_) pack_behind(std::chrono::duration<double>(Clock::now() - flight.begin).count());
}

void Engine::Impl::fail_everything(const std::string& why) {
  failure_ = Error{ErrorCode::kInternal, why};
  n_flying_ = 0;
  while (!requests_.empty()) {
    RequestState& request = *requests_.begin()->second;
    for (RequestState::Branch& b : request.branches) {
      if (b.done) continue;
      scheduler_->cancel(b.sequence);
      b.stream->fail(*failure_);
      b.done = true;
    }
    finish_if_done(request);
  }
}

void Engine::Impl::pack_behind(double step_seconds) {
  if (packer_ == nullptr) {
    packed_ = true;
    return;
  }
  // In-place matrices cost up to twice the time of a small step, so packing soon pays; a prompt's
  // first token has been delivered by now.
  constexpr double kShareOfStep = 0.5;
  constexpr double kAtLeast = 0.003;
  packed_ = packer_->pack_some(*device_, std::max(kAtLeast, kShareOfStep * step_seconds));
}

RequestState* Engine::Impl::request_of(SequenceId sequence, std::int64_t& branch) {
  const auto found = requests_.find(scheduler_->find(sequence)->request);
  SPATE_CHECK(found != requests_.end());
  RequestState& request = *found->second;
  for (std::size_t i = 0; i < request.branches.size(); ++i) {
    if (request.branches[i].sequence == sequence) branch = static_cast<std::int64_t>(i);
  }
  return &request;
}

void Engine::Impl::list_rows(Flight& flight) {
  flight.rows.clear();
  flight.on_host = false;
  orders_.clear();
  for (const Chunk& chunk : flight.plan.chunks) {
    if (chunk.n_logits == 0) continue;
    std::int64_t branch = 0;
    RequestState* request = request_of(chunk.sequence, branch);
    const SamplingParams& params = request->request.sampling;
    const auto n_prompt = static_cast<std::int64_t>(request->request.prompt.size());
    const bool wants_scores = params.prompt_logprobs && branch == 0;
    const bool on_device = executor_->samples(params);
    for (std::int64_t i = 0; i < chunk.n_logits; ++i) {
      const std::int64_t position = chunk.first + chunk.count - chunk.n_logits + i;
      RowWork work{.sequence = chunk.sequence,
                   .position = position,
                   .samples = chunk.samples && i + 1 == chunk.n_logits,
                   .scores = wants_scores && position + 1 < n_prompt};
      work.on_host = work.scores || (work.samples && !on_device);
      flight.on_host = flight.on_host || work.on_host;
      flight.rows.push_back(work);
      const Stream* stream = request->branches[static_cast<std::size_t>(branch)].stream.get();
      orders_.push_back({.sequence = chunk.sequence,
                         .stream = work.samples ? stream : nullptr,
                         .output = position + 1 - n_prompt,
                         .on_host = work.on_host});
    }
  }
}

void Engine::Impl::find_requests(Flight& flight) {
  for (RowWork& work : flight.rows) {
    const bool live = scheduler_->is_live(work.sequence);
    work.request = live ? request_of(work.sequence, work.branch) : nullptr;
  }
}

void Engine::Impl::work_on_rows(Flight& flight, const StepResult& result) {
  const auto n = static_cast<std::int64_t>(flight.rows.size());
  std::int64_t n_host = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const RowWork& work = flight.rows[static_cast<std::size_t>(i)];
    if (work.request == nullptr) continue;
    n_host += work.on_host ? 1 : 0;
    if (work.on_host || !work.samples) continue;
    work.request->branches[static_cast<std::size_t>(work.branch)].stream->take(
        result.tokens[static_cast<std::size_t>(i)]);
  }
  if (n_host == 0) return;
  ThreadPool& pool = device_->pool();
  const int workers = n_host == 1 ? 1 : pool.size();
  pool.run(
      [&](int worker) {
        for (std::int64_t i = pool.take(); i < n; i = pool.take()) {
          const RowWork& work = flight.rows[static_cast<std::size_t>(i)];
          if (work.request == nullptr || !work.on_host) continue;
          work_on_row(work,
                      {result.logits.row<float>(i), static_cast<std::size_t>(info.vocab_size)},
                      scratch_[static_cast<std::size_t>(worker)]);
        }
      },
      workers);
}

void Engine::Impl::work_on_row(const RowWork& work, std::span<const float> row,
                               SamplerScratch& scratch) {
  RequestState& request = *work.request;
  Stream& stream = *request.branches[static_cast<std::size_t>(work.branch)].stream;
  if (work.scores) {
    const auto next = static_cast<std::size_t>(work.position + 1);
    SampledToken token{.id = request.request.prompt[next]};
    const Result<void> done =
        add_logprobs(row, *request.request.sampling.prompt_logprobs, &scratch, &token);
    if (done) {
      TokenLogprobs out{.chosen = token.logprob.value_or(0.0F)};
      for (const TokenLogprob& t : token.top) out.top.push_back({t.id, t.logprob});
      request.prompt_logprobs[next] = std::move(out);
    } else {
      stream.fail(done.error());
    }
  }
  if (work.samples) stream.sample(row, scratch);
}

RequestState* Engine::Impl::end_sequence(SequenceId sequence) {
  std::int64_t branch = 0;
  RequestState* request = request_of(sequence, branch);
  request->branches[static_cast<std::size_t>(branch)].done = true;
  scheduler_->forget(sequence);
  executor_->forget(sequence);
  return request;
}

void Engine::Impl::commit_and_deliver(Flight& flight) {
  struct Delivery {
    RequestState* request;
    std::int64_t branch;
    Stream::Accepted accepted;
  };
  std::vector<Delivery> deliveries;
  std::vector<RequestState*> touched;
  outcomes_.clear();
  for (const RowWork& work : flight.rows) {
    if (!work.samples) continue;
    outcomes_.emplace_back();
    if (work.request == nullptr) continue;  // ended while this was on its way
    Stream& stream = *work.request->branches[static_cast<std::size_t>(work.branch)].stream;
    deliveries.push_back({work.request, work.branch, stream.accept()});
    outcomes_.back() = {.token = deliveries.back().accepted.token,
                        .stop = deliveries.back().accepted.finished};
  }
  for (const SequenceId id : scheduler_->commit(flight.plan, outcomes_)) {
    touched.push_back(end_sequence(id));
  }
  for (const Delivery& d : deliveries) deliver(*d.request, d.branch, d.accepted);
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  for (RequestState* request : touched) finish_if_done(*request);
}

void Engine::Impl::deliver(RequestState& request, std::int64_t branch,
                           const Stream::Accepted& accepted) {
  if (!request.first_token) request.first_token = Clock::now();
  ++stats_.generated_tokens;
  if (!request.request.on_token) return;
  request.request.on_token(
      {.id = request.id, .index = branch, .token = accepted.token, .text = accepted.text});
}

void Engine::Impl::finish_if_done(RequestState& request) {
  if (request.n_open() > 0) return;
  const auto node = requests_.extract(request.id);
  RequestState& state = *node.mapped();
  stats_.prompt_tokens += static_cast<std::int64_t>(state.request.prompt.size());
  if (state.request.on_done) {
    const auto on_done = std::move(state.request.on_done);
    on_done(state.take_result());
  }
}

EngineStats Engine::Impl::stats() const {
  EngineStats s = stats_;
  const SchedulerStats scheduler = scheduler_->stats();
  s.running = scheduler.n_running;
  s.waiting = scheduler.n_waiting;
  s.preemptions = scheduler.n_preemptions;
  s.kv_blocks = allocator_->capacity_blocks();
  s.kv_blocks_used = s.kv_blocks - allocator_->free_blocks();
  s.packed = packed_;
  const DeviceTime time = executor_->device_time();
  s.device_busy_seconds = time.busy_seconds;
  s.device_idle_seconds = time.idle_seconds;
  return s;
}

}  // namespace spate
