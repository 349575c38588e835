"""An experiment as one self-contained page: charts, tables, the words of the audit, and provenance."""
