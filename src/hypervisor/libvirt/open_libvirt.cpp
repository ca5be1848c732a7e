#include "hypervisor/libvirt/open_libvirt.hpp"

#include "hypervisor/libvirt/connection.hpp"
#include "hypervisor/libvirt/definition/adapt.hpp"
#include "hypervisor/libvirt/definition/stated_disks.hpp"
#include "hypervisor/libvirt/describe.hpp"
#include "hypervisor/libvirt/glance.hpp"
#include "hypervisor/libvirt/isolation.hpp"
#include "hypervisor/libvirt/libvirt_error.hpp"
#include "hypervisor/libvirt/lifecycle.hpp"
#include "hypervisor/libvirt/look_at_host.hpp"
#include "hypervisor/libvirt/merge.hpp"
#include "hypervisor/libvirt/nvram_file.hpp"
#include "hypervisor/libvirt/snapshot.hpp"
#include "hypervisor/libvirt/stray_layers.hpp"

#include <fmt/format.h>
#include <libvirt/libvirt.h>

#include <type_traits>
#include <utility>

namespace understudy::libvirt {
namespace {

// Finds the connection and the domain for each call; what is done with them is elsewhere.
class LibvirtHypervisor final : public ports::Hypervisor {
public:
    LibvirtHypervisor(const std::string& uri, std::string nvram_dir)
        : connection_(uri), nvram_dir_(std::move(nvram_dir)) {}

    Result<> connect() {
        auto connection = UNDERSTUDY_VALUE(connection_.get());
        return {};
    }

    Result<std::vector<ports::VmSummary>> list() override {
        auto connection = UNDERSTUDY_VALUE(connection_.get());
        return list_domains(connection.get());
    }
    Result<ports::VmDescription> describe(const VmId& vm) override {
        return with(vm, [](virDomainPtr domain) { return describe_domain(domain); });
    }
    Result<> start(const VmId& vm) override { return with(vm, libvirt::start); }
    Result<> shutdown(const VmId& vm, Duration limit) override {
        return with(vm, [&](virDomainPtr domain) { return libvirt::shutdown(domain, limit); });
    }
    Result<> stop(const VmId& vm) override { return with(vm, libvirt::stop); }
    Result<> pause(const VmId& vm) override {
        return with(vm, [&](virDomainPtr domain) { return libvirt::pause(pauses_, domain); });
    }
    Result<> resume(const VmId& vm) override {
        return with(vm, [&](virDomainPtr domain) { return libvirt::resume(pauses_, domain); });
    }

    Result<model::Consistency> snapshot(const VmId& vm,
                                        const std::vector<ports::DiskSwitch>& switches,
                                        Duration freeze_limit,
                                        const std::function<Result<>()>& still) override {
        return with(vm, [&](virDomainPtr domain) {
            return take_snapshot(pauses_, domain, switches, freeze_limit, still);
        });
    }
    Result<> settle_snapshot(const VmId& vm, const std::vector<ports::DiskSwitch>& switches,
                             const std::function<Result<>()>& on_overlays_stale) override {
        return with(vm, [&](virDomainPtr domain) {
            return libvirt::settle_snapshot(pauses_, domain, switches, on_overlays_stale);
        });
    }
    Result<> thaw(const VmId& vm) override { return with(vm, libvirt::thaw); }
    Result<> set_disks(const VmId& vm, const std::vector<ports::DiskSwitch>& switches) override {
        return with(vm, [&](virDomainPtr domain) { return libvirt::set_disks(domain, switches); });
    }
    Result<> merge(const VmId& vm, const std::string& target, const ports::LiveMerge& merge,
                   const std::function<bool()>& cancelled) override {
        auto done = with(vm, [&](virDomainPtr domain) {
            return merge_layers(domain, target, merge, cancelled);
        });
        if (!done)
            return fail(std::move(done.error())
                            .during(fmt::format("merge {} into {}", merge.top, merge.base)));
        return done;
    }

    Result<> define(const std::string& domain_xml) override {
        auto connection = UNDERSTUDY_VALUE(connection_.get());
        return libvirt::define(connection.get(), domain_xml);
    }
    Result<> undefine(const VmId& vm) override { return with(vm, libvirt::undefine); }
    Result<> set_autostart(const VmId& vm, bool autostart) override {
        return with(vm, [&](virDomainPtr domain) -> Result<> {
            if (virDomainSetAutostart(domain, autostart ? 1 : 0) == 0) return {};
            return fail(domain_error(domain, "set autostart of"));
        });
    }

    Result<std::string> read_nvram(const VmId& vm) override {
        return with(
            vm, [&](virDomainPtr domain) { return read_domain_nvram(domain, connection_.uri()); });
    }
    Result<> write_nvram(const std::string& path, const std::string& bytes) override {
        return write_nvram_file(path, bytes);
    }
    Result<> remove_nvram(const std::string& path) override { return remove_nvram_file(path); }

    Result<std::string> screenshot(const VmId& vm) override {
        return with(vm, libvirt::screenshot);
    }
    Result<bool> agent_answers(const VmId& vm) override { return with(vm, libvirt::agent_answers); }
    Result<bool> answers_on(const VmId& vm, const std::string& address,
                            std::uint16_t port) override {
        return with(
            vm, [&](virDomainPtr domain) { return libvirt::answers_on(domain, address, port); });
    }
    Result<ByteSize> free_memory() override { return memory_to_spare(); }

    Result<model::Capabilities> capabilities() override {
        auto connection = UNDERSTUDY_VALUE(connection_.get());
        // q35: the family whose UEFI images include those for secure boot.
        auto facts = UNDERSTUDY_VALUE(look_at_host(connection.get(), {}, "q35", true));
        return as_capabilities(facts);
    }
    Result<std::vector<ports::DiskDescription>> disks_of(const std::string& xml) override {
        return stated_disks(xml);
    }
    Result<ports::Adapted> adapt(const ports::AdaptRequest& request) override {
        auto wanted = UNDERSTUDY_VALUE(wanted_by(request.domain_xml));
        auto connection = UNDERSTUDY_VALUE(connection_.get());
        if (!request.isolated_network.empty())
            UNDERSTUDY_TRY(check_isolated(connection.get(), request.isolated_network));
        auto facts = UNDERSTUDY_VALUE(
            look_at_host(connection.get(), wanted.arch, wanted.machine, wanted.kvm));
        auto vms = UNDERSTUDY_VALUE(names_in_use(connection.get()));
        facts.vms = std::move(vms);
        facts.nvram_dir = nvram_dir_;
        facts.own_nvram_dir = libvirt_nvram_dir(connection_.uri());
        return adapt_definition(request, facts);
    }

private:
    template <class Action>
    std::invoke_result_t<Action, virDomainPtr> with(const VmId& vm, Action&& action) {
        auto connection = UNDERSTUDY_VALUE(connection_.get());
        auto domain = UNDERSTUDY_VALUE(find_domain(connection.get(), vm));
        return std::forward<Action>(action)(domain.get());
    }

    Connection connection_;
    Pauses pauses_;
    const std::string nvram_dir_;
};

}  // namespace

Result<std::unique_ptr<ports::Hypervisor>> open_libvirt(const std::string& uri,
                                                        const std::string& nvram_dir) {
    auto hypervisor = std::make_unique<LibvirtHypervisor>(uri, nvram_dir);
    UNDERSTUDY_TRY(hypervisor->connect());
    return hypervisor;
}

}  // namespace understudy::libvirt
