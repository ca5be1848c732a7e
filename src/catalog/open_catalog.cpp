#include "catalog/open_catalog.hpp"

#include "catalog/dialect.hpp"
#include "catalog/schema.hpp"
#include "catalog/sql_catalog.hpp"

#include <fmt/format.h>

namespace understudy::catalog {

Result<std::unique_ptr<ports::Catalog>> open_catalog(const CatalogSettings& settings) {
    if (settings.backend != "sqlite")
        return fail(Error(ErrorKind::invalid,
                          fmt::format("the catalog's backend '{}' is unknown", settings.backend))
                        .advising("Use \"sqlite\"."));
    if (settings.path.empty())
        return fail(ErrorKind::invalid, "the catalog has no path: name the database's file");
    auto database = std::make_unique<Database>(sqlite_dialect(settings));
    for (const auto& step : {+[](Database& db) { return db.connect(); }, +migrate}) {
        if (auto done = step(*database); !done)
            return fail(std::move(done.error()).during("open the catalog"));
    }
    return std::make_unique<SqlCatalog>(std::move(database));
}

}  // namespace understudy::catalog
