#include "hypervisor/libvirt/definition/adapt_steps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace understudy::libvirt {
namespace {

// Older versions of libvirt give QEMU "NAMESPACE/IMAGE" as the image's name, and it finds no such
// image.
constexpr unsigned long kLibvirtWithNamespaces = 11'006'000;

void check_login(const Adapting& work, const ports::DiskSource& image) {
    if (image.user.empty()) return;
    if (image.secret.empty()) {
        work.block(
            fmt::format("ceph-secret:{}", image.user),
            fmt::format("the pool of {} gives guests no key for Ceph user {}; put that key into a "
                        "libvirt secret (`virsh secret-define`, `virsh secret-set-value`) and its "
                        "UUID into the pool's `secret` in understudyd.toml. Accepted, QEMU logs in "
                        "with what it finds in /etc/ceph",
                        image.location, image.user));
        return;
    }
    const auto known = work.facts.has_secret(image.secret);
    if (known && *known) return;
    const auto key = fmt::format("secret:{}", image.secret);
    if (known)
        work.block(key, fmt::format("libvirt here has no secret {}, by which the VM reaches {}; "
                                    "make it with `virsh secret-define` (usage type 'ceph') and "
                                    "give it the key of Ceph user {} with `virsh secret-set-value`",
                                    image.secret, image.location, image.user));
    else if (known.error().kind() == ErrorKind::unsupported)
        work.block(key, fmt::format("the VM needs libvirt secret {} to reach {}, and an embedded "
                                    "libvirt has none; let `hypervisor` be qemu:///system",
                                    image.secret, image.location));
    else
        work.block(key, fmt::format("libvirt secret {}, by which the VM reaches {}, cannot be "
                                    "looked up: {}",
                                    image.secret, image.location, known.error().what()));
}

}  // namespace

void check_images(const Adapting& work) {
    std::set<std::pair<std::string, std::string>> logins;
    bool any = false;
    for (const auto& disk : work.request.disks) {
        const auto& image = disk.source;
        if (image.type != "network") continue;
        any = true;
        if (std::count(image.location.begin(), image.location.end(), '/') > 1 &&
            work.facts.libvirt < kLibvirtWithNamespaces)
            work.block(fmt::format("rbd-namespace:{}", disk.target),
                       fmt::format("{} is in a namespace, which VMs reach from libvirt 11.6 on; "
                                   "use a pool without one, or a newer libvirt",
                                   image.location));
        if (logins.emplace(image.user, image.secret).second) check_login(work, image);
    }
    if (any && !work.facts.rbd)
        work.block("qemu-rbd",
                   "this host's QEMU cannot open RBD images; install its driver (Debian: "
                   "qemu-block-extra)");
}

}  // namespace understudy::libvirt
