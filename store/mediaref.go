package store

import "strconv"

// MediaRef is a medium as its message names it, stored or not.
type MediaRef struct {
	MediaKey
	Index       int // N of MediaUrlN, or the place among an outgoing message's MediaUrls
	URL         string
	ContentType string // that the webhook declares; empty if it declares none

	// Upstream says that the SID is the provider's own, because URL is the address
	// that the provider gives to exactly this medium; see [Store.Identify].
	Upstream bool
	// Credentials says that the account's credentials may be sent to URL. They open
	// only what the account may read: in a webhook's message the medium itself, and
	// in a message that an authenticated client posted any medium of the account.
	Credentials bool
}

// MediaOf returns the media of m that have a URL, in their order. A tombstone names none.
// Media that were stored while the provider's origin was another one have other
// SIDs: [Store.ListMediaRecords] finds those too.
func (s *Store) MediaOf(m Message) []MediaRef {
	var refs []MediaRef
	if m.Outgoing != nil {
		for i, address := range m.Form["MediaUrl"] {
			ref := s.mediaRef(m, i, address)
			ref.Credentials = isAccounts(m.Account, address, s.Upstream)
			refs = append(refs, ref)
		}
		return refs
	}
	if m.Form == nil {
		return nil
	}
	for i := range m.NumMedia {
		n := strconv.Itoa(i)
		address := m.Form.Get("MediaUrl" + n)
		if address == "" {
			continue
		}
		ref := s.mediaRef(m, i, address)
		ref.ContentType, ref.Credentials = m.Form.Get("MediaContentType"+n), ref.Upstream
		refs = append(refs, ref)
	}
	return refs
}

// WithoutURL returns how many media an incoming message counts and gives no URL of, and
// the first of them.
func (s *Store) WithoutURL(m Message) (first MediaRef, n int) {
	if m.Form == nil || m.Outgoing != nil {
		return first, 0
	}
	for i := range m.NumMedia {
		if m.Form.Get("MediaUrl"+strconv.Itoa(i)) != "" {
			continue
		}
		if n == 0 {
			first = s.mediaRef(m, i, "")
		}
		n++
	}
	return first, n
}

func (s *Store) mediaRef(m Message, index int, address string) MediaRef {
	sid, upstream := s.Identify(m.Account, m.SID, index, address)
	return MediaRef{MediaKey: MediaKey{Account: m.Account, Message: m.SID, Media: sid}, Index: index, URL: address, Upstream: upstream}
}
