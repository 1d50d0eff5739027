"""What only the lessons use: their figures, their tables of published numbers, and the ledger of claims."""
