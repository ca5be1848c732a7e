#include "model/json.hpp"

#include "model/json_fields.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

// The words of the enumerations, and the edge between text and values: parse_json turns every
// exception of the JSON library into `invalid`; dump_json replaces bytes that are not UTF-8. Both
// are instantiated here for the types that cross an edge. The words are stored in catalogs and sent
// to peers, so they stay as they are. Pure.

namespace understudy::base {

void to_json(nlohmann::json& j, ByteSize size) {
    j = size.count();
}
void from_json(const nlohmann::json& j, ByteSize& size) {
    size = ByteSize(j.get<std::uint64_t>());
}
void to_json(nlohmann::json& j, ByteOffset offset) {
    j = offset.count();
}
void from_json(const nlohmann::json& j, ByteOffset& offset) {
    offset = ByteOffset(j.get<std::uint64_t>());
}

}  // namespace understudy::base

namespace understudy::model {
namespace {

template <class Enum, std::size_t N>
using Words = std::array<std::pair<Enum, std::string_view>, N>;

constexpr Words<Consistency, 2> kConsistencies{
    {{Consistency::crash, "crash"}, {Consistency::filesystem, "filesystem"}}};
constexpr Words<HoldKind, 5> kHoldKinds{{{HoldKind::base, "base"},
                                         {HoldKind::transfer, "transfer"},
                                         {HoldKind::user, "user"},
                                         {HoldKind::drill, "drill"},
                                         {HoldKind::branch, "branch"}}};
constexpr Words<Phase, 4> kPhases{{{Phase::owned, "owned"},
                                   {Phase::handing_over, "handing_over"},
                                   {Phase::replica, "replica"},
                                   {Phase::superseded, "superseded"}}};
constexpr Words<Severity, 2> kSeverities{
    {{Severity::blocks, "blocks"}, {Severity::warns, "warns"}}};
constexpr Words<TaskState, 5> kTaskStates{{{TaskState::queued, "queued"},
                                           {TaskState::running, "running"},
                                           {TaskState::succeeded, "succeeded"},
                                           {TaskState::failed, "failed"},
                                           {TaskState::cancelled, "cancelled"}}};
constexpr Words<ExtentKind, 2> kExtentKinds{
    {{ExtentKind::data, "data"}, {ExtentKind::zero, "zero"}}};
constexpr Words<Codec, 3> kCodecs{
    {{Codec::none, "none"}, {Codec::lz4, "lz4"}, {Codec::zstd, "zstd"}}};

template <class Enum, std::size_t N>
std::string_view word(const Words<Enum, N>& words, Enum value) {
    for (const auto& [known, name] : words)
        if (known == value) return name;
    base::broken_invariant("a value outside its enumeration", __FILE__, __LINE__);
}

template <class Enum, std::size_t N>
Result<Enum> value_of(const Words<Enum, N>& words, std::string_view text, std::string_view what) {
    for (const auto& [known, name] : words)
        if (name == text) return known;
    return fail(ErrorKind::invalid, fmt::format("'{}' is not a {}", text.substr(0, 32), what));
}

}  // namespace

std::string_view to_string(Consistency v) {
    return word(kConsistencies, v);
}
std::string_view to_string(HoldKind v) {
    return word(kHoldKinds, v);
}
std::string_view to_string(Phase v) {
    return word(kPhases, v);
}
std::string_view to_string(Severity v) {
    return word(kSeverities, v);
}
std::string_view to_string(TaskState v) {
    return word(kTaskStates, v);
}
std::string_view to_string(ExtentKind v) {
    return word(kExtentKinds, v);
}
std::string_view to_string(Codec v) {
    return word(kCodecs, v);
}

Result<Consistency> consistency_from(std::string_view text) {
    return value_of(kConsistencies, text, "consistency level");
}
Result<HoldKind> hold_kind_from(std::string_view text) {
    return value_of(kHoldKinds, text, "kind of hold");
}
Result<Phase> phase_from(std::string_view text) {
    return value_of(kPhases, text, "phase of ownership");
}
Result<Severity> severity_from(std::string_view text) {
    return value_of(kSeverities, text, "severity");
}
Result<TaskState> task_state_from(std::string_view text) {
    return value_of(kTaskStates, text, "task state");
}

template <class T>
Result<T> parse_json(std::string_view text, std::string_view what) {
    try {
        return nlohmann::json::parse(text).template get<T>();
    } catch (const std::exception& error) {
        return fail(ErrorKind::invalid, fmt::format("{} is malformed: {}", what, error.what()));
    }
}

template <class T>
std::string dump_json(const T& value) {
    // Names come from libvirt and from operators: bytes that are not UTF-8 must not end a dump.
    return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

#define UNDERSTUDY_JSON_EDGE(...)                                                             \
    template Result<__VA_ARGS__> parse_json<__VA_ARGS__>(std::string_view, std::string_view); \
    template std::string dump_json<__VA_ARGS__>(const __VA_ARGS__&);

UNDERSTUDY_JSON_EDGE(Snapshot)
UNDERSTUDY_JSON_EDGE(Vm)
UNDERSTUDY_JSON_EDGE(Ownership)
UNDERSTUDY_JSON_EDGE(Capabilities)
UNDERSTUDY_JSON_EDGE(Peer)
UNDERSTUDY_JSON_EDGE(Replication)
UNDERSTUDY_JSON_EDGE(TransferRequest)
UNDERSTUDY_JSON_EDGE(TransferOffer)
UNDERSTUDY_JSON_EDGE(Transfer)
UNDERSTUDY_JSON_EDGE(Totals)
UNDERSTUDY_JSON_EDGE(DurablePoint)
UNDERSTUDY_JSON_EDGE(Progress)
UNDERSTUDY_JSON_EDGE(Task)
UNDERSTUDY_JSON_EDGE(std::vector<SnapshotDisk>)
UNDERSTUDY_JSON_EDGE(std::vector<VmDisk>)
UNDERSTUDY_JSON_EDGE(std::vector<ReadinessIssue>)
UNDERSTUDY_JSON_EDGE(std::vector<DiskRange>)
UNDERSTUDY_JSON_EDGE(std::map<std::string, std::string>)

#undef UNDERSTUDY_JSON_EDGE

}  // namespace understudy::model
