// Opened from the disk, a browser lets no page read another, so the search can list pages but not quote from them.
// Without this, each result would leave an error in the console.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
