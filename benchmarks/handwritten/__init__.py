"""What a competent Django developer writes in an hour: two views, one model, one template.

Kept to be measured against, not to be copied: it loses codes on a double callback, keeps the
verifier in the session, decrypts whenever a row is loaded and believes every answer.
"""
