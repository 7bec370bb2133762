package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// CallbackKey proves that the URL of a status callback was made here for a message. The
// provider is given it with the message, and nobody else knows it: a signature alone
// proves little, because what is posted on to applications is signed with the same
// token.
func (s *Store) CallbackKey(account AccountSID, message MessageSID) string {
	mac := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(mac, "callback|%s|%s", account, message)
	return hex.EncodeToString(mac.Sum(nil))[:32]
}
