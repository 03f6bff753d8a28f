FROM localhost/fer-test/python:3.11
RUN groupadd --system --gid 999 postgres && useradd --system --uid 999 --gid 999 --home-dir /var/lib/postgresql postgres \
    && apt-get update && apt-get install --no-install-recommends --yes postgresql \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/*/main \
    && install --directory --owner postgres --group postgres --mode 1777 /var/lib/postgresql/data /run/postgresql
COPY --chmod=755 postgres.sh /postgres.sh
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin LANG=C.UTF-8
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["/postgres.sh"]
