"""Read by schemathesis: the parts of an upload are bytes, whatever tus calls them."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
