"""Reading tables: our own pass folders, and Parquet files made elsewhere."""
