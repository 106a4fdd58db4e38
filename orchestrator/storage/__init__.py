"""Where results and data lie for others: a folder, or a container of Azure Blob Storage, behind one small protocol."""
