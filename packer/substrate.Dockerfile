# The process that plays the platform beside the machines: `fake-substrate serve`, in the same
# base as they are. Built by fake-substrate itself (src/image); it has no data of its own here,
# and no privilege: it binds port 80 as this user.
ARG BASE=debian:forky-slim
FROM ${BASE}
# mkfs.ext4, for volumes that are born with a file system; of the suite's version, as the machines' own.
# For partitions, `nft`: it runs from this image in the network namespace of whoever is cut off, in a
# container of its own that lives as long as that takes (fake-substrate/src/fault/hands).
RUN apt-get update -qq -o Acquire::Check-Valid-Until=false \
    && apt-get install -qq --yes --no-install-recommends e2fsprogs nftables >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt
# A new named volume takes over this folder's owner; without it the volume would be root's.
RUN install -d -o 1000 -g 1000 -m 0700 /var/lib/fake-substrate
USER 1000:1000
ENTRYPOINT ["/usr/local/bin/fake-substrate"]
COPY bin/fake-substrate /usr/local/bin/fake-substrate
