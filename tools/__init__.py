"""Scripts for maintainers: vendored JavaScript, the software bill of materials."""
