"""The calibration table: see `headwise.analyses.calibration.rates.Rate`, whose fields are its columns."""

from headwise.tables.row import Column

CALIBRATION = (
    Column("procedure", str, "Test or interval"),
    Column("quantity", str, "rejection: of a true null; coverage: of the truth; power: rejection of a false null"),
    Column("scenario", str, "How the data were simulated"),
    Column("effect", float, "In standard deviations of a unit's difference; 0 under the null"),
    Column("units", str, "How many of what"),
    Column("simulations", int, "Data sets for which the procedure gave a result"),
    Column("found", float, "Share of them", True),
    Column("expected", float, "The share that is promised; null for power", True),
    Column("promise", str, "exactly, at most, at least; none where the scenario breaks an assumption, and for power"),
    Column("band_low", float, "Lower end of the exact binomial band of found shares (99.9 %)", True),
    Column("band_high", float, "Upper end of that band", True),
    Column("kept", str, "yes, no, or no promise"),
    Column("reason", str, "What is special", True),
)
