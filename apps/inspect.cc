// spate inspect: what a model is and what it will take, without running it.
#include <map>

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/options.h"
#include "core/json.h"
#include "engine/memory_plan.h"
#include "engine/model_loader.h"
#include "spate/engine.h"

namespace spate::apps {
namespace {

struct InspectCommand {
  EngineOptions engine;
  bool tensors = false;
  bool json = false;
};

Json info_json(const ModelInfo& i) {
  Json memory = Json::object();
  for (const MemoryItem& item : i.memory) memory[item.name] = item.n_bytes;
  return {{"path", i.path},
          {"architecture", i.architecture},
          {"parameters", i.parameters},
          {"layers", i.layers},
          {"hidden_size", i.hidden_size},
          {"vocab_size", i.vocab_size},
          {"query_heads", i.query_heads},
          {"kv_heads", i.kv_heads},
          {"head_dim", i.head_dim},
          {"context_length", i.context_length},
          {"kv_dtype", i.kv_dtype},
          {"kv_tokens", i.kv_tokens},
          {"weight_bytes", i.weight_bytes},
          {"memory", memory}};
}

void print_info(const ModelInfo& i) {
  fmt::print("{}\n", i.path);
  fmt::print("  {:<24}{}\n", "architecture", i.architecture);
  fmt::print("  {:<24}{:.1f} M\n", "parameters", static_cast<double>(i.parameters) / 1e6);
  fmt::print("  {:<24}{} x {}\n", "layers x hidden", i.layers, i.hidden_size);
  fmt::print("  {:<24}{} query, {} key-value, {} wide\n", "heads", i.query_heads, i.kv_heads,
             i.head_dim);
  fmt::print("  {:<24}{}\n", "vocabulary", i.vocab_size);
  fmt::print("  {:<24}{} tokens\n", "context", i.context_length);
  fmt::print("\n{}", memory_plan(i));
}

void print_tensors(const Checkpoint& checkpoint) {
  fmt::print("\ntensors\n");
  for (const TensorInfo* t : checkpoint.tensors()) {
    fmt::print("  {:<56} {:<5} [{}]  {}\n", t->name, t->dtype_name, fmt::join(t->shape, ", "),
               human_bytes(t->n_bytes));
  }
}

int inspect(InspectCommand o) {
  const Result<std::string> path = resolve_model(o.engine.model);
  if (!path) return fail(path.error());
  o.engine.model = *path;
  const Result<ModelInfo> info = Engine::inspect(o.engine);
  if (!info) return fail(info.error());
  if (o.json) {
    fmt::print("{}\n", info_json(*info).dump(2));
    return kDone;
  }
  print_info(*info);
  if (!o.tensors || o.engine.load_format == "dummy") return kDone;
  const Result<Checkpoint> checkpoint = Checkpoint::open(*path);
  if (!checkpoint) return fail(checkpoint.error());
  print_tensors(*checkpoint);
  return kDone;
}

}  // namespace

void add_inspect(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "inspect", "architecture, tensors, sizes and the memory plan of a model");
  auto o = std::make_shared<InspectCommand>();
  command->add_option("path", o->engine.model, "folder, file or built-in model");
  command->add_flag("--tensors", o->tensors, "list every tensor");
  command->add_flag("--json", o->json, "for programs");
  add_engine_options(*command, o->engine);
  command->callback([o, &exit_code] { exit_code = inspect(*o); });
}

}  // namespace spate::apps
