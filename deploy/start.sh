#!/bin/sh
# Entry point of our containers: writes the settings of the Spark cluster, whose secret is a variable, then becomes the command.
set -eu
if [ -n "${SPARK_SECRET:-}" ]; then
    (
        umask 077
        mkdir -p "$SPARK_CONF_DIR"
        cat /app/deploy/spark-defaults.conf > "$SPARK_CONF_DIR/spark-defaults.conf"
        echo "spark.authenticate.secret $SPARK_SECRET" >> "$SPARK_CONF_DIR/spark-defaults.conf"
    )
fi
exec "$@"
