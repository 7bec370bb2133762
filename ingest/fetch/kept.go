package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
)

// Keep keeps data under a name until room is needed for others, in a Cache that is
// not a Fetcher's: one for what can be made again at some cost. Nothing that it fails
// at is an error, as for all of a Cache.
func (c *Cache) Keep(name string, data []byte) {
	forEver := http.Header{"Cache-Control": {"max-age=2147483647"}} // the largest that is to be understood (RFC 9111 section 1.2.2)
	d := c.create(keyOfName(name), record{Header: forEver, Requested: c.now()})
	defer d.discard()
	_, _ = d.tee(io.Discard).Write(data)
	d.keep()
}

// Kept returns what was kept under a name, if it is there and whole.
func (c *Cache) Kept(name string) ([]byte, bool) {
	s := c.open(keyOfName(name))
	if s == nil {
		return nil, false
	}
	defer s.close()
	data, err := io.ReadAll(s.file)
	return data, err == nil
}

func keyOfName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}
