#include "cli/session/replicas.hpp"

#include "cli/terminal/values.hpp"

#include <nlohmann/json.hpp>

namespace understudy::cli {

using nlohmann::json;

Result<std::vector<json>> replicas_of(const Context& context,
                                      const std::optional<std::string>& peer) {
    auto answer = UNDERSTUDY_VALUE(context.get(path_of({"v1", "replicas"})));
    std::vector<json> replicas;
    for (const json& replica : list_at(answer, "replicas")) {
        const json& ownership = at(replica, "ownership");
        if (find_text(ownership, "phase").value_or("replica") != "replica") continue;
        if (peer && *peer != text_at(replica, "owner_name") && *peer != text_at(ownership, "owner"))
            continue;
        replicas.push_back(replica);
    }
    return replicas;
}

}  // namespace understudy::cli
