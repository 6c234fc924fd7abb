// SPDX-License-Identifier: Apache-2.0
//
// Runs a generated plait_top on a memory image: memory in, results and counters out.
//
// The memory behind the port accepts a read request at once and gives its first word `latency`
// cycles later, then a word a cycle; requests queue. With --stall P, each cycle and independently,
// a request is refused, the next word is late, or a write is refused, with probability P. Whether
// that happens is a hash of the cycle's number and the seed, so that the prediction in Python and
// the cocotb benches see the same pattern. Cycle 0 is the one in which start_i is high.
//
// Exit codes: 0 done, 2 bad argument or file, 3 cycle limit reached, 4 access outside the memory.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "Vplait_top.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr int PieceCount = sizeof(Vplait_top::mem_read_data_i) / sizeof(uint32_t);
constexpr int WordDigits = PieceCount * 8;

enum ExitCode { Done = 0, BadInput = 2, Hang = 3, OutOfRange = 4 };

[[noreturn]] void fail(ExitCode code, const std::string &line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  std::exit(code);
}

struct Arguments {
  std::map<std::string, std::string> values;

  Arguments(int count, char **words) {
    for (int i = 1; i < count; i += 2) {
      if (std::strncmp(words[i], "--", 2) != 0 || i + 1 == count) {
        fail(BadInput, std::string("expected --NAME VALUE, got ") + words[i]);
      }
      values[words[i] + 2] = words[i + 1];
    }
  }

  std::string text(const std::string &name, const std::string &otherwise) const {
    const auto found = values.find(name);
    return found == values.end() ? otherwise : found->second;
  }

  double number(const std::string &name, double otherwise) const {
    const std::string given = text(name, "");
    if (given.empty()) return otherwise;
    char *end = nullptr;
    const double value = std::strtod(given.c_str(), &end);
    if (*end || value < 0) fail(BadInput, "--" + name + ": not a number: " + given);
    return value;
  }
};

// Words of the memory port, lowest 32 bits first.
class Memory {
 public:
  void load(const std::string &path) {
    std::ifstream file(path);
    if (!file) fail(BadInput, path + ": cannot be read");
    std::string line;
    uint64_t address = 0;
    for (int number = 1; std::getline(file, line); ++number) {
      line.resize(std::min(line.size(), line.find("//")));
      while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
      if (line.empty()) continue;
      if (line[0] == '@') {
        address = digits(line, 1, line.size() - 1, path, number);
        continue;
      }
      if (line.size() != WordDigits) {
        fail(BadInput, path + ":" + std::to_string(number) + ": not a word of the memory port");
      }
      reserve(address + 1);
      for (int piece = 0; piece < PieceCount; ++piece) {
        at(address)[piece] = digits(line, WordDigits - 8 * (piece + 1), 8, path, number);
      }
      ++address;
    }
  }

  void save(const std::string &path, uint64_t first, uint64_t count) const {
    std::FILE *file = std::fopen(path.c_str(), "w");
    if (!file) fail(BadInput, path + ": cannot be written");
    std::fprintf(file, "@%llx\n", static_cast<unsigned long long>(first));
    for (uint64_t word = first; word < first + count; ++word) {
      for (int piece = PieceCount - 1; piece >= 0; --piece) {
        std::fprintf(file, "%08x", pieces_[word * PieceCount + piece]);
      }
      std::fputc('\n', file);
    }
    if (std::fclose(file)) fail(BadInput, path + ": cannot be written");
  }

  void reserve(uint64_t words) {
    if (words > (uint64_t{1} << 32)) fail(BadInput, "an address beyond 32 bits");
    if (words > size_) pieces_.resize((size_ = words) * PieceCount);
  }

  uint32_t *at(uint64_t word) { return &pieces_[word * PieceCount]; }
  uint64_t size() const { return size_; }

 private:
  static uint64_t digits(const std::string &line, size_t from, size_t count,
                         const std::string &path, int number) {
    uint64_t value = 0;
    const char *begin = line.data() + from;
    const auto parsed = std::from_chars(begin, begin + count, value, 16);
    if (parsed.ec != std::errc() || parsed.ptr != begin + count) {
      fail(BadInput, path + ":" + std::to_string(number) + ": not a hexadecimal number");
    }
    return value;
  }

  std::vector<uint32_t> pieces_;
  uint64_t size_ = 0;
};

// Drives the two channels of the memory port.
class Port {
 public:
  Port(Vplait_top &top, Memory &memory, const Arguments &arguments)
      : top_(top), memory_(memory), seed_(arguments.number("seed", 0)),
        latency_(arguments.number("latency", 8)),
        stall_(std::llround(arguments.number("stall", 0) * 0x1p32)) {
    if (latency_ < 1) fail(BadInput, "--latency: expected 1 or more");
  }

  // Chooses this cycle's inputs.
  void drive(uint64_t cycle) {
    top_.mem_read_request_ready_i = !stalled(cycle, ReadRequest);
    top_.mem_write_ready_i = !stalled(cycle, Write);
    if (!valid_ && !requests_.empty() && requests_.front().ready_at <= cycle &&
        !stalled(cycle, ReadData)) {
      valid_ = true;
      std::memcpy(&top_.mem_read_data_i, memory_.at(requests_.front().address),
                  PieceCount * sizeof(uint32_t));
    }
    top_.mem_read_valid_i = valid_;
  }

  // Sees what the coming clock edge transfers.
  void sample(uint64_t cycle) {
    if (!top_.rst_ni) return;
    if (valid_ && top_.mem_read_ready_o) {
      valid_ = false;
      ++words_read;
      Request &front = requests_.front();
      ++front.address;
      if (--front.length == 0) requests_.pop_front();
    }
    if (top_.mem_read_request_valid_o && top_.mem_read_request_ready_i) {
      const Request request{top_.mem_read_request_address_o, top_.mem_read_request_length_o,
                            cycle + latency_};
      check(request.address, request.length, "read");
      requests_.push_back(request);
    }
    if (top_.mem_write_valid_o && top_.mem_write_ready_i) {
      check(top_.mem_write_address_o, 1, "write");
      std::memcpy(memory_.at(top_.mem_write_address_o), &top_.mem_write_data_o,
                  PieceCount * sizeof(uint32_t));
      ++words_written;
    }
  }

  uint64_t words_read = 0;
  uint64_t words_written = 0;

 private:
  enum Channel : uint32_t { ReadRequest, ReadData, Write };

  struct Request {
    uint64_t address;
    uint64_t length;
    uint64_t ready_at;
  };

  bool stalled(uint64_t cycle, Channel channel) const {
    uint32_t hash = 3 * static_cast<uint32_t>(cycle) + channel + seed_ * 0x9E3779B1u;
    hash = (hash ^ hash >> 16) * 0x85EBCA6Bu;
    hash = (hash ^ hash >> 13) * 0xC2B2AE35u;
    return (hash ^ hash >> 16) < stall_;
  }

  void check(uint64_t address, uint64_t length, const char *what) const {
    if (length == 0 || address + length > memory_.size()) {
      fail(OutOfRange, std::string(what) + " of " + std::to_string(length) + " words at address " +
                           std::to_string(address) + ", the memory has " +
                           std::to_string(memory_.size()) + " words");
    }
  }

  Vplait_top &top_;
  Memory &memory_;
  uint32_t seed_;
  uint64_t latency_;
  uint64_t stall_;  // probability times 2^32
  std::deque<Request> requests_;
  bool valid_ = false;
};

// The machine, its clock and its waveform.
class Machine {
 public:
  Machine(Vplait_top &top, Port &port, const std::string &trace) : top_(top), port_(port) {
#if VM_TRACE
    if (!trace.empty()) {
      top_.trace(&trace_, 99);
      trace_.open(trace.c_str());
    }
#else
    if (!trace.empty()) fail(BadInput, "--trace: this program was built without it");
#endif
  }

  ~Machine() {
#if VM_TRACE
    trace_.close();
#endif
    top_.final();
  }

  void step() {
    top_.clk_i = 0;
    port_.drive(cycle_);
    top_.eval();
    dump();
    port_.sample(cycle_);
    top_.clk_i = 1;
    top_.eval();
    dump();
    ++cycle_;
  }

  void reset() {
    top_.start_i = 0;
    top_.rst_ni = 0;
    for (int i = 0; i < 4; ++i) step();
    top_.rst_ni = 1;
    step();
    cycle_ = 0;
  }

  uint64_t cycle() const { return cycle_; }

 private:
  void dump() {
#if VM_TRACE
    if (trace_.isOpen()) trace_.dump(time_);
    time_ += 5;  // half a period of a 100 MHz clock, ns
#endif
  }

  Vplait_top &top_;
  Port &port_;
  uint64_t cycle_ = 0;
#if VM_TRACE
  VerilatedVcdC trace_;
  uint64_t time_ = 0;
#endif
};

std::string report(const Vplait_top &top, const Port &port, bool done) {
  std::string text = std::string("{\"done\": ") + (done ? "true" : "false") +
                     ", \"cycles\": " + std::to_string(top.cycles_o) +
                     ", \"error\": " + std::to_string(top.error_o) +
                     ", \"state\": " + std::to_string(top.state_o) +
                     ", \"words_read\": " + std::to_string(port.words_read) +
                     ", \"words_written\": " + std::to_string(port.words_written) +
                     ", \"counters\": [";
  uint32_t counters[sizeof(top.counters_o) / sizeof(uint32_t)];
  std::memcpy(counters, &top.counters_o, sizeof counters);
  for (size_t i = 0; i < std::size(counters); ++i) {
    text += (i ? ", " : "") + std::to_string(counters[i]);
  }
  return text + "]}";
}

}  // namespace

int main(int count, char **words) {
  const Arguments arguments(count, words);
  const auto context = std::make_unique<VerilatedContext>();
  context->randReset(2);  // random initial state: a register that needs a reset must have one
  context->randSeed(1 + static_cast<int>(arguments.number("seed", 0)));
#if VM_TRACE
  context->traceEverOn(true);
#endif
  Memory memory;
  memory.load(arguments.text("image", "image.mem"));
  const uint64_t results_at = arguments.number("results-at", 0);
  const uint64_t results_words = arguments.number("results-words", 0);
  memory.reserve(results_at + results_words);

  const auto top = std::make_unique<Vplait_top>(context.get());
  Port port(*top, memory, arguments);
  const uint64_t limit = arguments.number("limit", 1e9);
  bool done = false;
  {
    Machine machine(*top, port, arguments.text("trace", ""));
    top->descriptor_address_i = arguments.number("descriptor", 0);
    machine.reset();
    top->start_i = 1;
    machine.step();
    top->start_i = 0;
    while (!(done = top->done_o) && machine.cycle() < limit) machine.step();
  }
  std::printf("%s\n", report(*top, port, done).c_str());
  if (!done) return Hang;
  memory.save(arguments.text("results", "results.mem"), results_at, results_words);
  return Done;
}
