#!/bin/sh
# dispatchserver.sh
#
# Run every minute by the monitor's cron in scripts/dispatch/bin: one stanza a model, appended by
# add_dispatch_docker.sh. Reconstructed from contract section 2, "dispatchserver.sh". Nothing keeps two runs of it
# from overlapping. (defect 1)
# shellcheck disable=SC2034 # the stanzas use it
logFile=../log/dispatchserver-$(date +%Y%m%d).log
