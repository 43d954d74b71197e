# docker build -t portcullis .
# docker run -p 25:25 -p 465:465 -p 587:587 -p 127.0.0.1:9925:9925 \
#   -v /etc/portcullis:/etc/portcullis:ro -v portcullis-state:/var/lib/portcullis portcullis
# In the container's configuration [metrics] address must be 0.0.0.0:9925 to be seen from outside of it.

FROM debian:12-slim AS build
WORKDIR /src
# The package list alone first: this layer stays while the sources change.
COPY dev ./
COPY .ci/packages .ci/
RUN ./dev packages build && rm -rf /var/lib/apt/lists/*
COPY . .
RUN ./dev package

FROM debian:12-slim
COPY --from=build /src/build/release/portcullis_*.deb /tmp/
RUN apt-get update && apt-get install -y --no-install-recommends /tmp/portcullis_*.deb && rm -rf /var/lib/apt/lists/* /tmp/portcullis_*.deb
RUN install -d -o portcullis -g portcullis -m 0700 /var/lib/portcullis
USER portcullis
VOLUME ["/etc/portcullis", "/var/lib/portcullis"]
EXPOSE 25 465 587 9925
# /healthz over bash's own TCP: the image has no HTTP client.
HEALTHCHECK --interval=10s --timeout=3s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9925 && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == 'HTTP/1.1 200'* ]]"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/sbin/portcullis"]
CMD ["serve", "--config", "/etc/portcullis/portcullis.toml"]
