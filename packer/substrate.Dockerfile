# The process that plays the platform beside the machines: `fake-substrate serve`, in the same
# base as they are. Built by fake-substrate itself (src/image); it has no data of its own here,
# and no privilege: it binds port 80 as this user.
ARG BASE=debian:forky-slim
FROM ${BASE}
USER 1000:1000
ENTRYPOINT ["/usr/local/bin/fake-substrate"]
COPY bin/fake-substrate /usr/local/bin/fake-substrate
