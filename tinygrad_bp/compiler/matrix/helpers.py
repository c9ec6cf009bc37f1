"""Helpers"""
ERFC = ""
ERF = ""
