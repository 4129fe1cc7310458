"""A process that writes Observations until it is killed: prints each number once it is acknowledged."""

import sys

from twinstack.sensorthings.store import NewObservation, open_store

store = open_store(sys.argv[1])
for number in range(int(sys.argv[3]), int(sys.argv[3]) + 20):
    store.insert_observations([NewObservation(int(sys.argv[2]), number * 1_000_000, float(number))]).result()
    print(number, flush=True)
