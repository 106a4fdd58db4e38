"""Shared storage of results and data: a folder or an Azure Blob Storage container, behind one small protocol."""
