// The subcommands: each adds itself to the program and, when chosen, runs and sets the exit code.
#pragma once

#include <CLI/CLI.hpp>

namespace spate::apps {

void add_run(CLI::App& program, int& exit_code);
void add_chat(CLI::App& program, int& exit_code);
void add_batch(CLI::App& program, int& exit_code);
void add_score(CLI::App& program, int& exit_code);
void add_bench(CLI::App& program, int& exit_code);
void add_inspect(CLI::App& program, int& exit_code);
void add_tokenize(CLI::App& program, int& exit_code);
void add_doctor(CLI::App& program, int& exit_code);

}  // namespace spate::apps
