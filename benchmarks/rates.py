"""The rates that `headwise cost` ships with, from a finished run: measured over counted seconds, rule by rule.

    snakemake --cores 1 --configfile benchmarks/pilot.yaml
    python benchmarks/rates.py benchmarks/pilot.yaml results/pilot

Prints the table RATES of src/headwise/planning/rates.py.
"""

import argparse
from pathlib import Path

from headwise.planning.plan import Plan
from headwise.planning.rates import measured_rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("results", type=Path)
    chosen = parser.parse_args()
    rates = measured_rates(Plan([chosen.study]), chosen.results)
    print("RATES = {")
    for rule, rate in rates.items():
        print(f'    "{rule}": {rate:.2g},')
    print("}")


if __name__ == "__main__":
    main()
