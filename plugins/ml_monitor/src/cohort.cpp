// SPDX-License-Identifier: Apache-2.0
#include "cohort.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ephor::ml_monitor {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// A pair whose outputs never moved together says nothing when they do not.
constexpr double kPairLeast = 0.25;
constexpr std::uint32_t kPairBlocksMin = 4;
// Blocks behind a pair's mean: older ones fade.
constexpr std::uint32_t kPairMemory = 128;

// Of values that are not sorted; not empty.
double median(std::span<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2.0;
}

}  // namespace

void BlockFigures::add(const BlockFigures& other) {
  begin_ns = decisions == 0 ? other.begin_ns : std::min(begin_ns, other.begin_ns);
  end_ns = decisions == 0 ? other.end_ns : std::max(end_ns, other.end_ns);
  decisions += other.decisions;
  correct += other.correct;
  brier_count += other.brier_count;
  confidence_count += other.confidence_count;
  paired += other.paired;
  brier_sum += other.brier_sum;
  confidence_sum += other.confidence_sum;
  peer_correct_sum += other.peer_correct_sum;
  peer_brier_sum += other.peer_brier_sum;
  peer_brier_count += other.peer_brier_count;
}

void Cohort::Member::set_excluded(std::size_t k, bool is_excluded) {
  for (std::vector<ShiftBlock>& stream : streams) {
    const std::size_t begin = stream.size() - std::min(k, stream.size());
    for (std::size_t i = begin; i < stream.size(); ++i) stream[i].is_excluded = is_excluded;
  }
}

struct Cohort::Sums {
  BlockFigures figures;
  std::array<ShiftBlock, kStreamCount> against_peers;
  std::array<ShiftBlock, kStreamCount> own;
};

std::size_t Cohort::pair_index(std::size_t left, std::size_t right) {
  const std::size_t low = std::min(left, right);
  const std::size_t high = std::max(left, right);
  return high * (high - 1) / 2 + low;
}

std::size_t Cohort::place_of(std::uint32_t model) {
  for (std::size_t at = 0; at < members_.size(); ++at) {
    if (members_[at].model == model) return at;
  }
  if (members_.size() == kModelsMax) return kModelsMax;
  members_.emplace_back().model = model;
  pairs_.resize(members_.size() * (members_.size() - 1) / 2);
  return members_.size() - 1;
}

bool Cohort::add(const PeerGroup& group) {
  Row row;
  row.regime = group.regime;
  for (const Judged& judged : group.entries) {
    const std::size_t place = place_of(judged.model);
    if (place == kModelsMax) {
      ++beyond_bound_;
      continue;
    }
    row.entries.push_back(judged);
    row.entries.back().model = static_cast<std::uint32_t>(place);
  }
  if (row.entries.empty()) return false;
  rows_.push_back(std::move(row));
  if (rows_.size() < limits_.block_decisions) return false;
  close_block();
  return true;
}

void Cohort::add_figures(std::vector<Sums>& sums) const {
  std::vector<double> error, brier, confidence, gap;
  const auto at = [](Stream which) { return static_cast<std::size_t>(which); };
  for (const Row& row : rows_) {
    for (std::size_t i = 0; i < row.entries.size(); ++i) {
      const Judged& mine = row.entries[i];
      Sums& sum = sums[mine.model];
      const double own_error = mine.is_correct ? 0.0 : 1.0;
      BlockFigures one;
      one.begin_ns = one.end_ns = mine.predicted_ns;
      one.decisions = 1;
      one.correct = mine.is_correct ? 1 : 0;
      one.brier_count = mine.has_brier ? 1 : 0;
      one.brier_sum = mine.has_brier ? mine.brier : 0.0;
      one.confidence_count = mine.has_confidence ? 1 : 0;
      one.confidence_sum = mine.has_confidence ? mine.confidence : 0.0;
      error.clear();
      brier.clear();
      confidence.clear();
      gap.clear();
      double peer_correct = 0.0;
      for (std::size_t j = 0; j < row.entries.size(); ++j) {
        const Judged& peer = row.entries[j];
        if (peer.model == mine.model || peer.is_repeating) continue;
        const double peer_error = peer.is_correct ? 0.0 : 1.0;
        error.push_back(peer_error);
        peer_correct += 1.0 - peer_error;
        if (peer.has_brier) brier.push_back(peer.brier);
        if (peer.has_confidence) {
          confidence.push_back(peer.confidence);
          gap.push_back(peer.confidence - 1.0 + peer_error);
        }
      }
      if (!error.empty()) {
        one.paired = 1;
        one.peer_correct_sum = peer_correct / static_cast<double>(error.size());
      }
      if (!brier.empty()) {
        one.peer_brier_count = 1;
        one.peer_brier_sum = median(brier);
      }
      sum.figures.add(one);
      if (mine.is_repeating) continue;
      const auto both = static_cast<std::uint16_t>(row.regime * (kActualMax + 1) + mine.actual);
      const auto put = [&](Stream which, double own, std::vector<double>& peers) {
        std::uint16_t stratum = both;
        if (which == Stream::kConfidence) stratum = row.regime;
        if (which == Stream::kGap && !peers.empty()) stratum = mine.actual;
        sum.own[at(which)].add(stratum, own);
        if (!peers.empty()) sum.against_peers[at(which)].add(stratum, own - median(peers));
      };
      put(Stream::kError, own_error, error);
      if (mine.has_brier) put(Stream::kBrier, mine.brier, brier);
      if (mine.has_confidence) {
        put(Stream::kConfidence, mine.confidence, confidence);
        put(Stream::kGap, mine.confidence - 1.0 + own_error, gap);
      }
    }
  }
}

// Over the decisions of the block that both answered; NaN if there are too few, or one of them said
// the same each time.
double Cohort::correlation(std::size_t left, std::size_t right) const {
  std::array<double, kOutputClasses> left_sum{};
  std::array<double, kOutputClasses> right_sum{};
  double left_square = 0.0;
  double right_square = 0.0;
  double product = 0.0;
  std::uint32_t count = 0;
  for (const Row& row : rows_) {
    const Judged* a = nullptr;
    const Judged* b = nullptr;
    for (const Judged& entry : row.entries) {
      if (entry.model == left) a = &entry;
      if (entry.model == right) b = &entry;
    }
    if (a == nullptr || b == nullptr || a->is_repeating || b->is_repeating) continue;
    ++count;
    for (std::size_t c = 0; c < kOutputClasses; ++c) {
      const double x = a->output[c];
      const double y = b->output[c];
      left_sum[c] += x;
      right_sum[c] += y;
      left_square += x * x;
      right_square += y * y;
      product += x * y;
    }
  }
  if (count < limits_.shift.block_count_min) return kNan;
  const double n = static_cast<double>(count);
  for (std::size_t c = 0; c < kOutputClasses; ++c) {
    left_square -= left_sum[c] * left_sum[c] / n;
    right_square -= right_sum[c] * right_sum[c] / n;
    product -= left_sum[c] * right_sum[c] / n;
  }
  if (!(left_square > 1e-9 * n) || !(right_square > 1e-9 * n)) return kNan;
  return product / std::sqrt(left_square * right_square);
}

// Per member: the best of its pairs' losses of association, less the loss that is common.
std::vector<double> Cohort::associations() {
  const std::size_t count = members_.size();
  std::vector<double> loss(pairs_.size(), kNan);  // of pairs that are known
  for (std::size_t j = 1; j < count; ++j) {
    for (std::size_t i = 0; i < j; ++i) {
      const double now = correlation(i, j);
      if (std::isnan(now)) continue;
      Pair& pair = pairs_[pair_index(i, j)];
      if (pair.count >= kPairBlocksMin && pair.mean >= kPairLeast) {
        loss[pair_index(i, j)] = now - pair.mean;
      }
      const auto is_in_finding = [&](const Member& member) {
        const auto& stream = member.stream(Stream::kAssociation);
        return !stream.empty() && stream.back().is_excluded;
      };
      // What an open finding is about must not become the rule.
      if (is_in_finding(members_[i]) || is_in_finding(members_[j])) continue;
      pair.count = std::min(pair.count + 1, kPairMemory);
      pair.mean += (now - pair.mean) / static_cast<double>(pair.count);
    }
  }
  std::vector<double> out(count, kNan);
  std::vector<double> others;
  for (std::size_t member = 0; member < count; ++member) {
    double best = kNan;
    others.clear();
    for (std::size_t j = 1; j < count; ++j) {
      for (std::size_t i = 0; i < j; ++i) {
        const double value = loss[pair_index(i, j)];
        if (std::isnan(value)) continue;
        if (i == member || j == member) {
          best = std::isnan(best) ? value : std::max(best, value);
        } else {
          others.push_back(value);
        }
      }
    }
    if (std::isnan(best)) continue;
    const double common = others.empty() ? 0.0 : std::min(0.0, median(others));
    out[member] = best - common;
  }
  return out;
}

void Cohort::push(Member& member, Sums& sums, double association) {
  const std::uint32_t enough = limits_.shift.block_count_min;
  const bool is_paired = sums.figures.paired >= enough;
  if (is_paired != member.is_paired) {
    // Figures against peers and figures alone are not of one kind.
    for (auto& stream : member.streams) stream.clear();
    member.figures.clear();
    member.is_paired = is_paired;
  }
  for (std::size_t which = 0; which < kStreamCount; ++which) {
    std::vector<ShiftBlock>& stream = member.streams[which];
    if (stream.size() == kBlocksMax) stream.erase(stream.begin());
    ShiftBlock block = is_paired ? sums.against_peers[which] : sums.own[which];
    block.is_excluded = !stream.empty() && stream.back().is_excluded;
    stream.push_back(block);
  }
  if (!std::isnan(association)) {
    // One number per block, in one stratum that is always known.
    const auto weight = static_cast<std::uint32_t>(limits_.block_decisions);
    member.streams[0].back().add(StratumSum::level(0, weight, association));
  }
  if (member.figures.size() == kBlocksMax) member.figures.erase(member.figures.begin());
  member.figures.push_back(sums.figures);
  if (member.blocks_of_version > 0) ++member.blocks_of_version;
}

void Cohort::close_block() {
  std::vector<Sums> sums(members_.size());
  add_figures(sums);
  const std::vector<double> association = associations();
  closed_.clear();
  for (std::size_t at = 0; at < members_.size(); ++at) {
    if (sums[at].figures.decisions < limits_.shift.block_count_min) continue;
    push(members_[at], sums[at], association[at]);
    closed_.push_back(at);
  }
  rows_.clear();
}

void Cohort::forget(std::uint32_t model) {
  for (std::size_t at = 0; at < members_.size(); ++at) {
    if (members_[at].model != model) continue;
    for (auto& stream : members_[at].streams) stream.clear();
    members_[at].figures.clear();
    members_[at].blocks_of_version = 0;
    for (std::size_t other = 0; other < members_.size(); ++other) {
      if (other != at) pairs_[pair_index(at, other)] = {};
    }
  }
}

void Cohort::note_version_change(std::uint32_t model) {
  for (Member& member : members_) {
    if (member.model == model) member.blocks_of_version = 1;
  }
}

double Cohort::pair_mean(std::size_t left, std::size_t right) const {
  const Pair& pair = pairs_[pair_index(left, right)];
  return pair.count == 0 ? kNan : pair.mean;
}

// ---- state
// ----------------------------------------------------------------------------------------

void Cohort::save(StateWriter& out) const {
  out.varint(beyond_bound_).varint(members_.size());
  for (const Member& member : members_) {
    out.u32(member.model).boolean(member.is_paired).varint(member.blocks_of_version);
    out.varint(member.figures.size());
    for (const BlockFigures& figures : member.figures) {
      out.i64(figures.begin_ns).i64(figures.end_ns);
      out.varint(figures.decisions).varint(figures.correct).varint(figures.brier_count);
      out.varint(figures.confidence_count).varint(figures.paired).varint(figures.peer_brier_count);
      out.f64(figures.brier_sum).f64(figures.confidence_sum);
      out.f64(figures.peer_correct_sum).f64(figures.peer_brier_sum);
    }
    for (const auto& stream : member.streams) {
      for (const ShiftBlock& block : stream) {
        out.boolean(block.is_excluded).varint(block.parts().size());
        for (const StratumSum& part : block.parts()) {
          out.varint(part.stratum).varint(part.count).f64(part.sum).f64(part.squares);
        }
      }
    }
  }
  for (const Pair& pair : pairs_) out.f64(pair.mean).varint(pair.count);
  out.varint(rows_.size());
  for (const Row& row : rows_) {
    out.varint(row.regime).varint(row.entries.size());
    for (const Judged& judged : row.entries) save_judged(out, judged);
  }
}

void Cohort::load(StateReader& in, std::size_t regimes, std::size_t models) {
  const auto refuse = [](const char* what) { throw Error(EPHOR_INVALID, what); };
  beyond_bound_ = in.varint();
  const std::size_t count = in.count(8);
  if (count > kModelsMax) refuse("state: too many models in a cohort");
  members_.resize(count);
  for (Member& member : members_) {
    member.model = in.u32();
    if (member.model >= models) refuse("state: a model that is not there");
    member.is_paired = in.boolean();
    member.blocks_of_version = in.varint();
    const std::size_t blocks = in.count(50);
    if (blocks > kBlocksMax) refuse("state: too many blocks");
    member.figures.resize(blocks);
    for (BlockFigures& figures : member.figures) {
      figures.begin_ns = in.i64();
      figures.end_ns = in.i64();
      for (std::uint32_t* value :
           {&figures.decisions, &figures.correct, &figures.brier_count, &figures.confidence_count,
            &figures.paired, &figures.peer_brier_count}) {
        *value = static_cast<std::uint32_t>(in.varint());
      }
      for (double* value : {&figures.brier_sum, &figures.confidence_sum, &figures.peer_correct_sum,
                            &figures.peer_brier_sum}) {
        *value = in.f64();
      }
    }
    for (auto& stream : member.streams) {
      stream.resize(blocks);
      for (ShiftBlock& block : stream) {
        block.is_excluded = in.boolean();
        for (std::size_t parts = in.count(18); parts > 0; --parts) {
          const std::uint64_t stratum = in.varint();
          if (stratum >= regimes * (kActualMax + 1)) refuse("state: no such stratum");
          const auto count_in = static_cast<std::uint32_t>(in.varint());
          const double sum = in.f64();
          block.add({static_cast<std::uint16_t>(stratum), count_in, sum, in.f64()});
        }
      }
    }
  }
  pairs_.resize(count * (count > 0 ? count - 1 : 0) / 2);
  for (Pair& pair : pairs_) {
    pair.mean = in.f64();
    pair.count = static_cast<std::uint32_t>(in.varint());
  }
  rows_.resize(in.count(2));
  for (Row& row : rows_) {
    const std::uint64_t regime = in.varint();
    if (regime >= regimes) refuse("state: a regime that has no name");
    row.regime = static_cast<std::uint16_t>(regime);
    row.entries.resize(in.count(40));
    for (Judged& judged : row.entries) {
      load_judged(in, judged);
      if (judged.model >= count) refuse("state: a place that is not there");
    }
  }
}

}  // namespace ephor::ml_monitor
