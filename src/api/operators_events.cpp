#include "api/operators_calls.hpp"
#include "model/json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::api {
namespace {

using nlohmann::json;

constexpr std::int64_t kLongestWait = 30'000;
constexpr Duration kLookEvery{500};
constexpr std::int64_t kMost = 1000;

// The events after a sequence or, if none is given, the newest ones. With wait_ms it waits until
// there is one.
Result<Reply> list(const Asked& asked) {
    auto limit = number_query(asked, "limit", 100);
    auto wait = number_query(asked, "wait_ms", 0);
    auto after = number_query(asked, "after", 0);
    if (!limit) return error_of(limit);
    if (!wait) return error_of(wait);
    if (!after) return error_of(after);
    *limit = std::clamp<std::int64_t>(*limit, 1, kMost);
    auto& site = asked.site();
    if (asked.query("after").empty()) {
        auto last = UNDERSTUDY_VALUE(site.catalog.last_event());
        *after = std::max<std::int64_t>(0, last - *limit);
    }
    auto& changed = site.bells->changed;
    const auto until = site.clock.monotonic() + Duration(std::min(*wait, kLongestWait));
    while (true) {
        const auto rung = changed.rung();
        auto events =
            UNDERSTUDY_VALUE(site.catalog.events(*after, static_cast<std::size_t>(*limit)));
        const auto left = until - site.clock.monotonic();
        if (!events.empty() || left <= Duration::zero() || changed.closed())
            return Reply{200, {{"events", events}}};
        changed.wait(rung, std::min(left, kLookEvery));
    }
}

Result<Reply> verify(const Asked& asked) {
    auto last = UNDERSTUDY_VALUE(asked.site().catalog.last_event());
    auto broken = UNDERSTUDY_VALUE(asked.site().catalog.first_broken_event());
    if (broken)
        return fail(
            Error(ErrorKind::corrupt, fmt::format("event {} was changed or removed", *broken))
                .keeping("all that is there")
                .advising("Somebody changed the catalog. Compare it with a backup."));
    return Reply{200, {{"verified", last}}};
}

}  // namespace

Answer answer_events(const Asked& asked) {
    if (asked.path.empty() || asked.path[0] != "events") return std::nullopt;
    if (asked.is("GET", 1)) return list(asked);
    if (asked.is("GET", 2) && asked.path[1] == "verify") return verify(asked);
    return std::nullopt;
}

}  // namespace understudy::api
