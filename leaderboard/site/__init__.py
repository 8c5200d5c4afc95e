"""The web site: a folder of pages about records, readable without a server or a network"""
